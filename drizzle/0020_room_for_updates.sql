-- A first run writes each of its rows and its links twice. With half of a page left free the second version of a row
-- stays on the page of the first one, and no index hears of it (200,000 change rows: 0.9 s in place of 5).
ALTER TABLE "changes" SET (fillfactor = 50);--> statement-breakpoint
ALTER TABLE "links" SET (fillfactor = 50);
