-- Deferrable, so that one statement may swap usernames; drizzle-kit can not say it.
ALTER TABLE users ADD CONSTRAINT users_tenant_id_username_key UNIQUE (tenant_id, username_key) DEFERRABLE INITIALLY IMMEDIATE;
--> statement-breakpoint
-- The second wall (design.md section 5): a tenant's transaction sees and writes rows of its tenant only. Without the
-- setting, current_setting raises an error: a forgotten scope is refused, not answered with nothing.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'organizations', 'organization_closure', 'users', 'memberships', 'grants', 'exclusions', 'super_admins', 'tokens',
    'connections', 'connection_versions', 'role_mappings', 'mirror_objects', 'mirror_edges', 'links', 'runs',
    'changes', 'cases', 'audit_events', 'outbox_messages', 'webhooks'
  ] LOOP
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
-- Append-only, also for ourselves.
REVOKE UPDATE, DELETE ON audit_events FROM rollcall_tenant;
--> statement-breakpoint
-- What dispatch needs of every tenant: due connections, runs, the relay's messages and webhooks, a token by its id.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['connections', 'runs', 'outbox_messages', 'webhooks', 'tokens'] LOOP
    EXECUTE format('CREATE POLICY engine ON public.%I FOR ALL TO rollcall_engine USING (true) WITH CHECK (true)', name);
  END LOOP;
END $$;
--> statement-breakpoint
GRANT SELECT, UPDATE ON connections, webhooks, tokens TO rollcall_engine;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE ON runs TO rollcall_engine;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_messages TO rollcall_engine;
--> statement-breakpoint
-- Exempt: a way of signing in and a proven domain are global by nature.
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts, domains TO rollcall_tenant;
