-- `co` of a SCIM filter: LIKE is not leakproof, so under row-level security no index could serve it. The function reads
-- as the owner, takes the tenant from the transaction's setting like every policy does, and answers ids only.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
--> statement-breakpoint
CREATE EXTENSION IF NOT EXISTS btree_gin;
--> statement-breakpoint
-- One index for all three texts: a user's name and address usually are the same, and so are their trigrams.
CREATE INDEX mirror_objects_contains ON mirror_objects USING gin (
  connection_id,
  (coalesce(user_name_key, '') || chr(10) || coalesce(display_name_key, '') || chr(10) || coalesce(email_key, '')) gin_trgm_ops
) WHERE is_pushed AND deleted_at IS NULL;
--> statement-breakpoint
CREATE FUNCTION scim_containing(of_connection uuid, of_kind text, in_column text, needle text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  of_tenant uuid := current_setting('rollcall.tenant_id')::uuid;
  pattern text := '%' || replace(replace(replace(needle, '\', '\\'), '%', '\%'), '_', '\_') || '%';
BEGIN
  RETURN QUERY
    SELECT o.anchor FROM mirror_objects o
    WHERE o.connection_id = of_connection AND o.tenant_id = of_tenant AND o.kind = of_kind AND o.is_pushed
      AND o.deleted_at IS NULL
      AND (coalesce(o.user_name_key, '') || chr(10) || coalesce(o.display_name_key, '') || chr(10) || coalesce(o.email_key, ''))
        LIKE pattern
      AND CASE in_column
        WHEN 'userName' THEN o.user_name_key
        WHEN 'displayName' THEN o.display_name_key
        ELSE o.email_key
      END LIKE pattern;
  IF in_column = 'emails' THEN
    RETURN QUERY
      SELECT e.anchor FROM mirror_emails e
      WHERE e.tenant_id = of_tenant AND e.connection_id = of_connection AND e.email_key LIKE pattern;
  END IF;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION scim_containing FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION scim_containing TO rollcall_tenant;
