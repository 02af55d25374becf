DROP INDEX "connections_due";--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "failed_runs" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "quarantined_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "connections" ADD COLUMN "quarantine_retries" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "progress" jsonb;--> statement-breakpoint
CREATE INDEX "connections_due" ON "connections" USING btree ("next_run_at") WHERE status in ('active', 'quarantined') and next_run_at is not null;--> statement-breakpoint
ALTER TABLE "connections" ADD CONSTRAINT "connections_quarantine" CHECK ((status = 'quarantined') = (quarantined_at is not null));