CREATE TABLE "accounts" (
	"id" uuid PRIMARY KEY NOT NULL,
	"login" text collate "C",
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "accounts_login_unique" UNIQUE("login")
);
--> statement-breakpoint
CREATE TABLE "exclusions" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"organization_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text,
	"reason" text NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"until" timestamp with time zone,
	CONSTRAINT "exclusions_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "exclusions_one" UNIQUE NULLS NOT DISTINCT("tenant_id","organization_id","user_id","role")
);
--> statement-breakpoint
CREATE TABLE "grants" (
	"tenant_id" uuid NOT NULL,
	"organization_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text NOT NULL,
	"source" text collate "C" NOT NULL,
	"run_id" uuid,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "grants_tenant_id_organization_id_user_id_role_source_pk" PRIMARY KEY("tenant_id","organization_id","user_id","role","source"),
	CONSTRAINT "grants_role" CHECK ("grants"."role" in ('user', 'view_only_admin', 'billing_admin', 'admin'))
);
--> statement-breakpoint
CREATE TABLE "memberships" (
	"tenant_id" uuid NOT NULL,
	"organization_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "memberships_tenant_id_organization_id_user_id_pk" PRIMARY KEY("tenant_id","organization_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "super_admins" (
	"tenant_id" uuid NOT NULL,
	"organization_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text DEFAULT 'admin' NOT NULL,
	"source" text collate "C" DEFAULT 'manual' NOT NULL,
	"since" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "super_admins_tenant_id_organization_id_pk" PRIMARY KEY("tenant_id","organization_id"),
	CONSTRAINT "super_admins_grant" CHECK (role = 'admin' and source = 'manual')
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"id" text collate "C" PRIMARY KEY NOT NULL,
	"tenant_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"hash" "bytea" NOT NULL,
	"connection_id" uuid,
	"organization_id" uuid,
	"role" text,
	"scopes" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp with time zone,
	"last_used_at" timestamp with time zone,
	"revoked_at" timestamp with time zone,
	CONSTRAINT "tokens_kind" CHECK ("tokens"."kind" in ('scim', 'api'))
);
--> statement-breakpoint
CREATE TABLE "audit_events" (
	"tenant_id" uuid NOT NULL,
	"seq" bigint GENERATED ALWAYS AS IDENTITY (sequence name "audit_events_seq_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"target" text NOT NULL,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"expires_at" timestamp with time zone,
	CONSTRAINT "audit_events_tenant_id_seq_pk" PRIMARY KEY("tenant_id","seq")
);
--> statement-breakpoint
CREATE TABLE "domains" (
	"tenant_id" uuid NOT NULL,
	"name" text collate "C" NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"is_primary" boolean DEFAULT false NOT NULL,
	"proven_by" text,
	"proven_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "domains_tenant_id_name_pk" PRIMARY KEY("tenant_id","name"),
	CONSTRAINT "domains_status" CHECK ("domains"."status" in ('pending', 'proven', 'built_in'))
);
--> statement-breakpoint
CREATE TABLE "organization_closure" (
	"tenant_id" uuid NOT NULL,
	"ancestor_id" uuid NOT NULL,
	"descendant_id" uuid NOT NULL,
	"depth" integer NOT NULL,
	CONSTRAINT "organization_closure_tenant_id_ancestor_id_descendant_id_pk" PRIMARY KEY("tenant_id","ancestor_id","descendant_id")
);
--> statement-breakpoint
CREATE TABLE "organizations" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"parent_id" uuid,
	"name" text NOT NULL,
	"name_key" text collate "C" NOT NULL,
	"slug" text collate "C" NOT NULL,
	"depth" integer DEFAULT 0 NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "organizations_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "organizations_tenantId_slug_unique" UNIQUE("tenant_id","slug"),
	CONSTRAINT "organizations_root" CHECK ((parent_id is null) = (id = tenant_id)),
	CONSTRAINT "organizations_depth" CHECK (depth between 0 and 8)
);
--> statement-breakpoint
CREATE TABLE "outbox_messages" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "outbox_messages_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"tenant_id" uuid NOT NULL,
	"type" text NOT NULL,
	"payload" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"available_at" timestamp with time zone DEFAULT now() NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"delivered_at" timestamp with time zone,
	"last_error" text
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"url" text NOT NULL,
	"secret" jsonb NOT NULL,
	"event_types" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"is_enabled" boolean DEFAULT true NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "webhooks_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "cases" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"connection_id" uuid,
	"organization_id" uuid,
	"kind" text NOT NULL,
	"status" text DEFAULT 'open' NOT NULL,
	"anchor" text collate "C",
	"subject" text NOT NULL,
	"reason" text NOT NULL,
	"candidate_ids" uuid[] DEFAULT '{}'::uuid[] NOT NULL,
	"run_id" uuid,
	"resolution" jsonb,
	"resolved_by" text,
	"resolved_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "cases_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "cases_kind" CHECK ("cases"."kind" in ('disputed_match', 'privileged_match', 'duplicate_key', 'privileged_grant', 'drift', 'no_super_admin', 'stale')),
	CONSTRAINT "cases_status" CHECK ("cases"."status" in ('open', 'resolved', 'ignored'))
);
--> statement-breakpoint
CREATE TABLE "changes" (
	"tenant_id" uuid NOT NULL,
	"run_id" uuid NOT NULL,
	"seq" integer NOT NULL,
	"chunk" integer NOT NULL,
	"connection_id" uuid NOT NULL,
	"class" text NOT NULL,
	"op" text NOT NULL,
	"kind" text NOT NULL,
	"anchor" text collate "C",
	"user_id" uuid,
	"subject" text NOT NULL,
	"organization_id" uuid,
	"role" text,
	"grant_source" text collate "C",
	"before" jsonb,
	"after" jsonb,
	"expected_version" bigint,
	"object_version" bigint,
	"reason" text NOT NULL,
	"cause" text collate "C" NOT NULL,
	"state" text DEFAULT 'planned' NOT NULL,
	"error" text,
	"request_id" uuid,
	"applied_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "changes_tenant_id_run_id_seq_pk" PRIMARY KEY("tenant_id","run_id","seq"),
	CONSTRAINT "changes_class" CHECK ("changes"."class" in ('create', 'update', 'key', 'link', 'grant', 'revoke', 'suspend', 'remove', 'conflict')),
	CONSTRAINT "changes_op" CHECK ("changes"."op" in ('create', 'update', 'reactivate', 'key', 'link', 'unlink', 'grant', 'revoke', 'suspend', 'remove', 'dispute', 'error')),
	CONSTRAINT "changes_kind" CHECK ("changes"."kind" in ('joiner', 'mover', 'leaver', 'conflict')),
	CONSTRAINT "changes_state" CHECK ("changes"."state" in ('planned', 'held', 'applied', 'stale', 'conflict', 'failed', 'skipped', 'undone'))
);
--> statement-breakpoint
CREATE TABLE "connection_versions" (
	"tenant_id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"document" jsonb NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "connection_versions_tenant_id_connection_id_version_pk" PRIMARY KEY("tenant_id","connection_id","version")
);
--> statement-breakpoint
CREATE TABLE "connections" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"organization_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"name_key" text collate "C" NOT NULL,
	"settings" jsonb NOT NULL,
	"secret" jsonb,
	"policy" jsonb NOT NULL,
	"status" text DEFAULT 'draft' NOT NULL,
	"status_reason" text,
	"cron" text,
	"time_zone" text DEFAULT 'UTC' NOT NULL,
	"jitter_seconds" integer DEFAULT 0 NOT NULL,
	"next_run_at" timestamp with time zone,
	"priority" integer DEFAULT 100 NOT NULL,
	"ceiling" text DEFAULT 'user' NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"cursor" jsonb,
	"baseline" jsonb,
	"last_full_at" timestamp with time zone,
	"approved_version" integer,
	"created_by" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "connections_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "connections_id_unique" UNIQUE("id"),
	CONSTRAINT "connections_tenantId_nameKey_unique" UNIQUE("tenant_id","name_key"),
	CONSTRAINT "connections_kind" CHECK ("connections"."kind" in ('entra', 'ldap', 'scim', 'file')),
	CONSTRAINT "connections_status" CHECK ("connections"."status" in ('draft', 'active', 'paused', 'quarantined')),
	CONSTRAINT "connections_ceiling" CHECK ("connections"."ceiling" in ('user', 'view_only_admin', 'billing_admin', 'admin'))
);
--> statement-breakpoint
CREATE TABLE "links" (
	"tenant_id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"anchor" text collate "C" NOT NULL,
	"user_id" uuid,
	"state" text NOT NULL,
	"reason" text,
	"matched_by" text,
	"applied" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"settled_version" bigint DEFAULT 0 NOT NULL,
	"version" bigint DEFAULT 1 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "links_tenant_id_connection_id_anchor_pk" PRIMARY KEY("tenant_id","connection_id","anchor"),
	CONSTRAINT "links_state" CHECK ("links"."state" in ('linked', 'missing', 'gone', 'out_of_scope', 'suspended', 'removed', 'disputed', 'ignored', 'held')),
	CONSTRAINT "links_user" CHECK (user_id is not null or state in ('disputed', 'ignored'))
);
--> statement-breakpoint
CREATE TABLE "mirror_edges" (
	"tenant_id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"group_anchor" text collate "C" NOT NULL,
	"member_anchor" text collate "C" NOT NULL,
	CONSTRAINT "mirror_edges_tenant_id_connection_id_group_anchor_member_anchor_pk" PRIMARY KEY("tenant_id","connection_id","group_anchor","member_anchor")
);
--> statement-breakpoint
CREATE TABLE "mirror_objects" (
	"tenant_id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"anchor" text collate "C" NOT NULL,
	"user_name_key" text collate "C",
	"external_id" text collate "C",
	"email_key" text collate "C",
	"employee_id_key" text collate "C",
	"display_name" text,
	"display_name_key" text collate "C",
	"locator" text,
	"source" jsonb NOT NULL,
	"mapped" jsonb,
	"rule_ids" uuid[] DEFAULT '{}'::uuid[] NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"is_in_scope" boolean DEFAULT true NOT NULL,
	"problem" text,
	"content_hash" "bytea" NOT NULL,
	"members_hash" "bytea",
	"member_count" integer,
	"is_pushed" boolean DEFAULT false NOT NULL,
	"version" bigint DEFAULT 1 NOT NULL,
	"absent_since" timestamp with time zone,
	"deleted_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "mirror_objects_tenant_id_connection_id_kind_anchor_pk" PRIMARY KEY("tenant_id","connection_id","kind","anchor"),
	CONSTRAINT "mirror_objects_kind" CHECK ("mirror_objects"."kind" in ('user', 'group'))
);
--> statement-breakpoint
CREATE TABLE "role_mappings" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"organization_id" uuid NOT NULL,
	"role" text NOT NULL,
	"group_anchor" text collate "C",
	"group_name" text,
	"predicate" text,
	"precedence" integer DEFAULT 100 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "role_mappings_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "role_mappings_role" CHECK ("role_mappings"."role" in ('user', 'view_only_admin', 'billing_admin', 'admin')),
	CONSTRAINT "role_mappings_one_kind" CHECK ((predicate is null) <> (group_anchor is null and group_name is null))
);
--> statement-breakpoint
CREATE TABLE "runs" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"connection_version" integer NOT NULL,
	"kind" text NOT NULL,
	"mode" text NOT NULL,
	"status" text NOT NULL,
	"phase" text,
	"epoch" integer DEFAULT 0 NOT NULL,
	"scheduled_for" timestamp with time zone,
	"requested_by" text NOT NULL,
	"started_at" timestamp with time zone,
	"heartbeat_at" timestamp with time zone,
	"finished_at" timestamp with time zone,
	"is_complete" boolean DEFAULT false NOT NULL,
	"is_first" boolean DEFAULT false NOT NULL,
	"counts" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"digest" text,
	"guard" jsonb,
	"approved_by" text,
	"approved_at" timestamp with time zone,
	"undo_of" uuid,
	"error" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "runs_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "runs_id_unique" UNIQUE("id"),
	CONSTRAINT "runs_kind" CHECK ("runs"."kind" in ('full', 'delta', 'object', 'undo', 'import', 'push')),
	CONSTRAINT "runs_mode" CHECK ("runs"."mode" in ('plan', 'auto')),
	CONSTRAINT "runs_status" CHECK ("runs"."status" in ('queued', 'running', 'planned', 'held', 'succeeded', 'partly', 'failed', 'canceled', 'discarded', 'superseded')),
	CONSTRAINT "runs_phase" CHECK ("runs"."phase" in ('claim', 'fetch', 'mirror', 'sanity', 'correlate', 'decide', 'prove', 'guard', 'apply', 'record'))
);
--> statement-breakpoint
CREATE TABLE "users" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"account_id" uuid,
	"username" text,
	"username_key" text collate "C",
	"email" text,
	"email_key" text collate "C",
	"display_name" text,
	"display_name_key" text collate "C",
	"given_name" text,
	"family_name" text,
	"phone" text,
	"employee_id" text,
	"employee_id_key" text collate "C",
	"department" text,
	"job_title" text,
	"attributes" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"status" text DEFAULT 'active' NOT NULL,
	"suspended_by" text,
	"status_reason" text,
	"status_changed_at" timestamp with time zone,
	"is_protected" boolean DEFAULT false NOT NULL,
	"provenance" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"quota_home_id" uuid,
	"version" bigint DEFAULT 1 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "users_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "users_tenantId_accountId_unique" UNIQUE("tenant_id","account_id"),
	CONSTRAINT "users_status" CHECK ("users"."status" in ('active', 'suspended', 'removed'))
);
--> statement-breakpoint
ALTER TABLE "exclusions" ADD CONSTRAINT "exclusions_tenant_id_organization_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","organization_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "exclusions" ADD CONSTRAINT "exclusions_tenant_id_user_id_users_tenant_id_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "grants" ADD CONSTRAINT "grants_tenant_id_organization_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","organization_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "grants" ADD CONSTRAINT "grants_tenant_id_user_id_users_tenant_id_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_tenant_id_organization_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","organization_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_tenant_id_user_id_users_tenant_id_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "super_admins" ADD CONSTRAINT "super_admins_tenant_id_organization_id_user_id_role_source_grants_tenant_id_organization_id_user_id_role_source_fk" FOREIGN KEY ("tenant_id","organization_id","user_id","role","source") REFERENCES "public"."grants"("tenant_id","organization_id","user_id","role","source") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "organization_closure" ADD CONSTRAINT "organization_closure_tenant_id_ancestor_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","ancestor_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "organization_closure" ADD CONSTRAINT "organization_closure_tenant_id_descendant_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","descendant_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "organizations" ADD CONSTRAINT "organizations_tenant_id_parent_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","parent_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "changes" ADD CONSTRAINT "changes_tenant_id_run_id_runs_tenant_id_id_fk" FOREIGN KEY ("tenant_id","run_id") REFERENCES "public"."runs"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connection_versions" ADD CONSTRAINT "connection_versions_tenant_id_connection_id_connections_tenant_id_id_fk" FOREIGN KEY ("tenant_id","connection_id") REFERENCES "public"."connections"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_tenant_id_organization_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","organization_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "links" ADD CONSTRAINT "links_tenant_id_connection_id_connections_tenant_id_id_fk" FOREIGN KEY ("tenant_id","connection_id") REFERENCES "public"."connections"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "links" ADD CONSTRAINT "links_tenant_id_user_id_users_tenant_id_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "mirror_objects" ADD CONSTRAINT "mirror_objects_tenant_id_connection_id_connections_tenant_id_id_fk" FOREIGN KEY ("tenant_id","connection_id") REFERENCES "public"."connections"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "role_mappings" ADD CONSTRAINT "role_mappings_tenant_id_connection_id_connections_tenant_id_id_fk" FOREIGN KEY ("tenant_id","connection_id") REFERENCES "public"."connections"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "role_mappings" ADD CONSTRAINT "role_mappings_tenant_id_organization_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","organization_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_tenant_id_connection_id_connections_tenant_id_id_fk" FOREIGN KEY ("tenant_id","connection_id") REFERENCES "public"."connections"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_tenant_id_quota_home_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","quota_home_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "exclusions_tenant_id_user_id_index" ON "exclusions" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "grants_tenant_id_user_id_index" ON "grants" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "grants_tenant_id_source_index" ON "grants" USING btree ("tenant_id","source");--> statement-breakpoint
CREATE INDEX "memberships_tenant_id_user_id_index" ON "memberships" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "super_admins_tenant_id_user_id_index" ON "super_admins" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "tokens_tenant_id_index" ON "tokens" USING btree ("tenant_id");--> statement-breakpoint
CREATE UNIQUE INDEX "tokens_name" ON "tokens" USING btree ("tenant_id","kind","name") WHERE revoked_at is null;--> statement-breakpoint
CREATE INDEX "audit_events_tenant_id_at_index" ON "audit_events" USING btree ("tenant_id","at");--> statement-breakpoint
CREATE UNIQUE INDEX "domains_one_owner" ON "domains" USING btree ("name") WHERE status <> 'pending';--> statement-breakpoint
CREATE UNIQUE INDEX "domains_one_primary" ON "domains" USING btree ("tenant_id") WHERE is_primary;--> statement-breakpoint
CREATE INDEX "organization_closure_tenant_id_descendant_id_index" ON "organization_closure" USING btree ("tenant_id","descendant_id");--> statement-breakpoint
CREATE UNIQUE INDEX "organizations_root_slug" ON "organizations" USING btree ("slug") WHERE parent_id is null;--> statement-breakpoint
CREATE INDEX "outbox_messages_due" ON "outbox_messages" USING btree ("available_at","id") WHERE delivered_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "cases_one_open" ON "cases" USING btree ("tenant_id","connection_id","anchor","kind") WHERE status = 'open' and anchor is not null;--> statement-breakpoint
CREATE INDEX "cases_tenant_id_status_index" ON "cases" USING btree ("tenant_id","status");--> statement-breakpoint
CREATE INDEX "changes_tenant_id_run_id_chunk_index" ON "changes" USING btree ("tenant_id","run_id","chunk");--> statement-breakpoint
CREATE INDEX "changes_tenant_id_user_id_index" ON "changes" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "changes_tenant_id_connection_id_anchor_index" ON "changes" USING btree ("tenant_id","connection_id","anchor");--> statement-breakpoint
CREATE INDEX "changes_applied" ON "changes" USING btree ("tenant_id","connection_id","applied_at") WHERE applied_at is not null;--> statement-breakpoint
CREATE INDEX "connections_due" ON "connections" USING btree ("next_run_at") WHERE status = 'active' and next_run_at is not null;--> statement-breakpoint
CREATE INDEX "links_tenant_id_user_id_index" ON "links" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "mirror_edges_tenant_id_connection_id_member_anchor_index" ON "mirror_edges" USING btree ("tenant_id","connection_id","member_anchor");--> statement-breakpoint
CREATE UNIQUE INDEX "mirror_objects_pushed_user_name" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind","user_name_key") WHERE is_pushed and deleted_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "mirror_objects_pushed_external_id" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind","external_id") WHERE is_pushed and deleted_at is null;--> statement-breakpoint
CREATE INDEX "mirror_objects_tenant_id_connection_id_email_key_index" ON "mirror_objects" USING btree ("tenant_id","connection_id","email_key");--> statement-breakpoint
CREATE INDEX "mirror_objects_tenant_id_connection_id_kind_display_name_key_index" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind","display_name_key");--> statement-breakpoint
CREATE INDEX "mirror_objects_gone" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind") WHERE absent_since is not null or deleted_at is not null;--> statement-breakpoint
CREATE INDEX "role_mappings_tenant_id_connection_id_index" ON "role_mappings" USING btree ("tenant_id","connection_id");--> statement-breakpoint
CREATE UNIQUE INDEX "runs_one_live" ON "runs" USING btree ("tenant_id","connection_id") WHERE status in ('queued', 'running') and kind in ('full', 'delta', 'import', 'undo');--> statement-breakpoint
CREATE UNIQUE INDEX "runs_one_slot" ON "runs" USING btree ("connection_id","scheduled_for") WHERE scheduled_for is not null;--> statement-breakpoint
CREATE INDEX "runs_tenant_id_connection_id_created_at_index" ON "runs" USING btree ("tenant_id","connection_id","created_at");--> statement-breakpoint
CREATE INDEX "users_tenant_id_email_key_index" ON "users" USING btree ("tenant_id","email_key");--> statement-breakpoint
CREATE INDEX "users_tenant_id_employee_id_key_index" ON "users" USING btree ("tenant_id","employee_id_key");--> statement-breakpoint
CREATE INDEX "users_tenant_id_display_name_key_index" ON "users" USING btree ("tenant_id","display_name_key");