DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['mirror_emails', 'scim_list_marks', 'scim_requests'] LOOP
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
-- The request log is written for many tenants in one statement, and what is old goes in one.
CREATE POLICY engine ON scim_requests FOR ALL TO rollcall_engine USING (true) WITH CHECK (true);
--> statement-breakpoint
GRANT SELECT, INSERT, DELETE ON scim_requests TO rollcall_engine;
--> statement-breakpoint
-- An access token that expired is of no use to anybody, and a client may fetch one per request.
GRANT DELETE ON tokens TO rollcall_engine;
--> statement-breakpoint
-- Keeps mirror_emails. The condition of the first trigger is false for the usual user, whose one address is the mapped
-- one and stands in email_key already: a create pays for an expression, not for a function.
CREATE FUNCTION mirror_emails_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    DELETE FROM mirror_emails
    WHERE tenant_id = OLD.tenant_id AND connection_id = OLD.connection_id AND anchor = OLD.anchor;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    IF NEW.deleted_at IS NULL AND jsonb_typeof(NEW.source -> 'emails') = 'array' THEN
      -- a key has to fit into an index entry; who looks one up compares the whole address too
      INSERT INTO mirror_emails (tenant_id, connection_id, anchor, email_key)
      SELECT DISTINCT NEW.tenant_id, NEW.connection_id, NEW.anchor, left(lower(one.value ->> 'value'), 512)
      FROM jsonb_array_elements(NEW.source -> 'emails') AS one(value)
      WHERE one.value ->> 'value' IS NOT NULL
      ON CONFLICT DO NOTHING;
    END IF;
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER mirror_emails_insert AFTER INSERT ON mirror_objects FOR EACH ROW
WHEN (
  NEW.is_pushed AND NEW.kind = 'user' AND NEW.source -> 'emails' -> 0 IS NOT NULL
  AND (NEW.source -> 'emails' -> 1 IS NOT NULL OR lower(NEW.source -> 'emails' -> 0 ->> 'value') IS DISTINCT FROM NEW.email_key)
)
EXECUTE FUNCTION mirror_emails_follow();
--> statement-breakpoint
CREATE TRIGGER mirror_emails_update AFTER UPDATE OF source, email_key, deleted_at ON mirror_objects FOR EACH ROW
WHEN (
  NEW.is_pushed AND NEW.kind = 'user'
  AND (
    OLD.source -> 'emails' IS DISTINCT FROM NEW.source -> 'emails' OR OLD.email_key IS DISTINCT FROM NEW.email_key
    OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at
  )
)
EXECUTE FUNCTION mirror_emails_follow();
--> statement-breakpoint
CREATE TRIGGER mirror_emails_delete AFTER DELETE ON mirror_objects FOR EACH ROW
WHEN (OLD.is_pushed AND OLD.kind = 'user')
EXECUTE FUNCTION mirror_emails_follow();
--> statement-breakpoint
INSERT INTO mirror_emails (tenant_id, connection_id, anchor, email_key)
SELECT DISTINCT o.tenant_id, o.connection_id, o.anchor, left(lower(one.value ->> 'value'), 512)
FROM mirror_objects o, jsonb_array_elements(o.source -> 'emails') AS one(value)
WHERE o.is_pushed AND o.kind = 'user' AND o.deleted_at IS NULL AND jsonb_typeof(o.source -> 'emails') = 'array'
  AND one.value ->> 'value' IS NOT NULL;
