ALTER TABLE "changes" DROP CONSTRAINT "changes_op";--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "protected_reason" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "protected_by" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "first_organization_id" uuid;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_tenant_id_first_organization_id_organizations_tenant_id_id_fk" FOREIGN KEY ("tenant_id","first_organization_id") REFERENCES "public"."organizations"("tenant_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "changes" ADD CONSTRAINT "changes_op" CHECK ("changes"."op" in ('create', 'update', 'quota_home', 'reactivate', 'key', 'link', 'unlink', 'grant', 'revoke', 'suspend', 'remove', 'dispute', 'error', 'keep'));