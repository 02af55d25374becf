DROP INDEX "mirror_objects_pushed_user_name";--> statement-breakpoint
DROP INDEX "mirror_objects_pushed_external_id";--> statement-breakpoint
DROP INDEX "mirror_objects_pushed_gone_user_name";--> statement-breakpoint
DROP INDEX "mirror_objects_pushed_gone_external_id";--> statement-breakpoint
CREATE UNIQUE INDEX "mirror_objects_pushed_user_name" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind","user_name_key") WHERE is_pushed and deleted_at is null and user_name_key is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "mirror_objects_pushed_external_id" ON "mirror_objects" USING btree ("tenant_id","connection_id","kind","external_id") WHERE is_pushed and deleted_at is null and external_id is not null;--> statement-breakpoint
CREATE INDEX "mirror_objects_pushed_gone_user_name" ON "mirror_objects" USING btree ("tenant_id","connection_id","user_name_key") WHERE is_pushed and deleted_at is not null and user_name_key is not null;--> statement-breakpoint
CREATE INDEX "mirror_objects_pushed_gone_external_id" ON "mirror_objects" USING btree ("tenant_id","connection_id","external_id") WHERE is_pushed and deleted_at is not null and external_id is not null;