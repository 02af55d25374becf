CREATE TABLE "correlation_keys" (
	"tenant_id" uuid NOT NULL,
	"spec" text collate "C" NOT NULL,
	"user_id" uuid NOT NULL,
	"key" text collate "C" NOT NULL,
	CONSTRAINT "correlation_keys_tenant_id_spec_user_id_pk" PRIMARY KEY("tenant_id","spec","user_id")
);
--> statement-breakpoint
CREATE TABLE "correlation_specs" (
	"tenant_id" uuid NOT NULL,
	"spec" text collate "C" NOT NULL,
	"attribute" text NOT NULL,
	"normalizers" text[] NOT NULL,
	CONSTRAINT "correlation_specs_tenant_id_spec_pk" PRIMARY KEY("tenant_id","spec")
);
--> statement-breakpoint
ALTER TABLE "cases" DROP CONSTRAINT "cases_kind";--> statement-breakpoint
ALTER TABLE "cases" ADD COLUMN "details" jsonb;--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "approved_priority" integer;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "resolved" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "settled_user_version" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "leaving_since" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "ended_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "mirror_objects" ADD COLUMN "correlation" jsonb;--> statement-breakpoint
ALTER TABLE "correlation_keys" ADD CONSTRAINT "correlation_keys_tenant_id_spec_correlation_specs_tenant_id_spec_fk" FOREIGN KEY ("tenant_id","spec") REFERENCES "public"."correlation_specs"("tenant_id","spec") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "correlation_keys_tenant_id_spec_key_index" ON "correlation_keys" USING btree ("tenant_id","spec","key");--> statement-breakpoint
CREATE INDEX "links_leaving" ON "links" USING btree ("tenant_id","connection_id") WHERE leaving_since is not null;--> statement-breakpoint
CREATE INDEX "links_suspended" ON "links" USING btree ("tenant_id","connection_id","ended_at") WHERE state in ('suspended', 'gone', 'out_of_scope');--> statement-breakpoint
CREATE INDEX "users_edited" ON "users" USING btree ("tenant_id") WHERE last_run_id is null;--> statement-breakpoint
CREATE INDEX "users_protected" ON "users" USING btree ("tenant_id") WHERE is_protected;--> statement-breakpoint
ALTER TABLE "cases" ADD CONSTRAINT "cases_kind" CHECK ("cases"."kind" in ('disputed_match', 'privileged_match', 'duplicate_key', 'privileged_grant', 'drift', 'rehire', 'no_super_admin', 'stale'));