-- Guards read the runs of a day instead: with this index on a column that every apply writes, no update of a change row could stay on its page (HOT).
DROP INDEX "changes_applied";--> statement-breakpoint
ALTER TABLE "changes" SET (fillfactor = 70);--> statement-breakpoint
-- A link is made by one chunk and settled by the end of its run.
ALTER TABLE "links" SET (fillfactor = 70);
