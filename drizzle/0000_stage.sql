-- Schema `stage`: per-run tables that are filled by COPY as the owner. It has no policies, because Postgres refuses
-- COPY into a table with row-level security for anybody but its owner.
-- The roles rollcall_tenant and rollcall_engine belong to the whole server, not to this database, so src/db/roles.ts
-- makes them before every migration (a dump restored on another server has the migrations but not the roles).
CREATE SCHEMA IF NOT EXISTS stage;
--> statement-breakpoint
GRANT USAGE ON SCHEMA stage TO rollcall_tenant;
--> statement-breakpoint
GRANT USAGE ON SCHEMA public TO rollcall_tenant, rollcall_engine;
