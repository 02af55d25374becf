ALTER TABLE "outbox_messages" ADD COLUMN "delivered_to" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "last_run_id" uuid;--> statement-breakpoint
CREATE UNIQUE INDEX "links_one_live" ON "links" USING btree ("tenant_id","connection_id","user_id") WHERE state in ('linked', 'missing', 'held');