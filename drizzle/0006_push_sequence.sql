-- Pushes of one connection and day share a standing run; the sequence numbers their change rows without a lock.
create sequence push_change_seq as integer cycle;
--> statement-breakpoint
grant usage on sequence push_change_seq to rollcall_tenant;
