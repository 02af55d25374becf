DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['correlation_specs', 'correlation_keys'] LOOP
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format(
      'CREATE POLICY tenant ON public.%I FOR ALL TO rollcall_tenant '
      'USING (tenant_id = current_setting(''rollcall.tenant_id'')::uuid) '
      'WITH CHECK (tenant_id = current_setting(''rollcall.tenant_id'')::uuid)',
      name
    );
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO rollcall_tenant', name);
  END LOOP;
END $$;
--> statement-breakpoint
-- The one place where a value is normalized for a correlation rule: both sides of the comparison come through here.
CREATE FUNCTION correlation_key(value text, normalizers text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  key text := lower(btrim(normalize(value, NFKC)));
  step text;
BEGIN
  FOREACH step IN ARRAY normalizers LOOP
    key := CASE step
      WHEN 'strip_domain' THEN split_part(regexp_replace(key, '^.*\\', ''), '@', 1)
      WHEN 'strip_plus_tag' THEN regexp_replace(key, '\+[^@]*', '')
      WHEN 'digits' THEN regexp_replace(key, '[^0-9]', '', 'g')
      WHEN 'strip_leading_zeros' THEN ltrim(key, '0')
      WHEN 'alphanumeric' THEN regexp_replace(key, '[^[:alnum:]]', '', 'g')
      ELSE key
    END;
  END LOOP;
  -- a key has to fit into an index entry; one that long is no name
  RETURN CASE WHEN length(key) BETWEEN 1 AND 512 THEN key END;
END $$;
--> statement-breakpoint
CREATE FUNCTION user_attribute(u users, attribute text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE attribute
    WHEN 'username' THEN u.username
    WHEN 'email' THEN u.email
    WHEN 'displayName' THEN u.display_name
    WHEN 'givenName' THEN u.given_name
    WHEN 'familyName' THEN u.family_name
    WHEN 'phone' THEN u.phone
    WHEN 'employeeId' THEN u.employee_id
    WHEN 'department' THEN u.department
    WHEN 'jobTitle' THEN u.job_title
    ELSE u.attributes ->> substr(attribute, length('attributes.') + 1)
  END
$$;
--> statement-breakpoint
-- Keeps correlation_keys. Once per statement; a tenant without a rule that needs a key pays for a look-up in an empty table.
CREATE FUNCTION correlation_keys_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    DELETE FROM correlation_keys k USING before_rows b
    WHERE k.tenant_id = b.tenant_id AND k.user_id = b.id
      AND EXISTS (SELECT 1 FROM correlation_specs s WHERE s.tenant_id = b.tenant_id);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO correlation_keys (tenant_id, spec, user_id, key)
    SELECT found.tenant_id, found.spec, found.id, found.key
    FROM (
      SELECT u.tenant_id, s.spec, u.id, correlation_key(user_attribute(u, s.attribute), s.normalizers) AS key
      FROM after_rows u JOIN correlation_specs s ON s.tenant_id = u.tenant_id
    ) found
    WHERE found.key IS NOT NULL
    ON CONFLICT (tenant_id, spec, user_id) DO UPDATE SET key = excluded.key;
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER users_correlation_keys_insert AFTER INSERT ON users REFERENCING NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION correlation_keys_follow();
--> statement-breakpoint
CREATE TRIGGER users_correlation_keys_update AFTER UPDATE ON users REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
FOR EACH STATEMENT EXECUTE FUNCTION correlation_keys_follow();
--> statement-breakpoint
CREATE TRIGGER users_correlation_keys_delete AFTER DELETE ON users REFERENCING OLD TABLE AS before_rows
FOR EACH STATEMENT EXECUTE FUNCTION correlation_keys_follow();
