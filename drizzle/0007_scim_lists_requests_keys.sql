CREATE TABLE "mirror_emails" (
	"tenant_id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"anchor" text collate "C" NOT NULL,
	"email_key" text collate "C" NOT NULL,
	CONSTRAINT "mirror_emails_tenant_id_connection_id_email_key_anchor_pk" PRIMARY KEY("tenant_id","connection_id","email_key","anchor")
);
--> statement-breakpoint
CREATE TABLE "scim_list_marks" (
	"tenant_id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"cutoff" timestamp with time zone NOT NULL,
	"cutoff_anchor" text collate "C" NOT NULL,
	"total" integer NOT NULL,
	"anchors" text[] DEFAULT '{}'::text[] NOT NULL,
	CONSTRAINT "scim_list_marks_tenant_id_connection_id_kind_pk" PRIMARY KEY("tenant_id","connection_id","kind"),
	CONSTRAINT "scim_list_marks_kind" CHECK ("scim_list_marks"."kind" in ('user', 'group'))
);
--> statement-breakpoint
CREATE TABLE "scim_requests" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"connection_id" uuid NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"token_id" text collate "C",
	"method" text NOT NULL,
	"path" text NOT NULL,
	"status" integer NOT NULL,
	"scim_type" text,
	"reason" text,
	"duration_ms" integer NOT NULL,
	"client_address" text,
	"user_agent" text,
	"body" jsonb,
	"body_bytes" integer DEFAULT 0 NOT NULL,
	CONSTRAINT "scim_requests_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
ALTER TABLE "tokens" DROP CONSTRAINT "tokens_kind";--> statement-breakpoint
ALTER TABLE "tokens" ADD COLUMN "allowed_ranges" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "tokens" ADD COLUMN "key_id" text collate "C";--> statement-breakpoint
ALTER TABLE "tokens" ADD COLUMN "reminded_days" integer;--> statement-breakpoint
ALTER TABLE "scim_list_marks" ADD CONSTRAINT "scim_list_marks_tenant_id_connection_id_connections_tenant_id_id_fk" FOREIGN KEY ("tenant_id","connection_id") REFERENCES "public"."connections"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "mirror_emails_tenant_id_connection_id_anchor_index" ON "mirror_emails" USING btree ("tenant_id","connection_id","anchor");--> statement-breakpoint
CREATE INDEX "scim_requests_tenant_id_connection_id_id_index" ON "scim_requests" USING btree ("tenant_id","connection_id","id");--> statement-breakpoint
CREATE INDEX "scim_requests_at_index" ON "scim_requests" USING btree ("at");--> statement-breakpoint
CREATE INDEX "tokens_of_key" ON "tokens" USING btree ("key_id") WHERE key_id is not null;--> statement-breakpoint
CREATE INDEX "mirror_objects_removed" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind","deleted_at") WHERE is_pushed and deleted_at is not null;--> statement-breakpoint
ALTER TABLE "tokens" ADD CONSTRAINT "tokens_kind" CHECK ("tokens"."kind" in ('scim', 'api', 'key'));