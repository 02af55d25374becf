-- The host operator names a tenant by its slug, before any tenant is set; nobody else runs as rollcall_engine over this.
CREATE POLICY engine ON organizations FOR SELECT TO rollcall_engine USING (true);
--> statement-breakpoint
GRANT SELECT ON organizations TO rollcall_engine;
