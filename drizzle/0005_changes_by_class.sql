DROP INDEX "changes_tenant_id_run_id_chunk_index";--> statement-breakpoint
CREATE INDEX "changes_by_class" ON "changes" USING btree ("tenant_id","run_id","class","seq");--> statement-breakpoint
ALTER TABLE "changes" DROP COLUMN "chunk";