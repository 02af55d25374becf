ALTER TABLE "connections" ADD COLUMN "credential" jsonb;--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "credential_checked_at" timestamp with time zone;