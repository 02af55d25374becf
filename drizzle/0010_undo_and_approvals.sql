ALTER TABLE "changes" DROP CONSTRAINT "changes_op";--> statement-breakpoint
ALTER TABLE "links" DROP CONSTRAINT "links_user";--> statement-breakpoint
ALTER TABLE "changes" ADD COLUMN "prior" jsonb;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "held_run_id" uuid;--> statement-breakpoint
ALTER TABLE "links" ADD COLUMN "held_state" text;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "approvals" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "undo_scope" jsonb;--> statement-breakpoint
CREATE INDEX "links_held" ON "links" USING btree ("tenant_id","held_run_id") WHERE state = 'held';--> statement-breakpoint
ALTER TABLE "changes" ADD CONSTRAINT "changes_op" CHECK ("changes"."op" in ('create', 'update', 'reactivate', 'key', 'link', 'unlink', 'grant', 'revoke', 'suspend', 'remove', 'dispute', 'error', 'keep'));--> statement-breakpoint
ALTER TABLE "links" ADD CONSTRAINT "links_user" CHECK (user_id is not null or state in ('disputed', 'ignored', 'held'));