/** A process of its own that starts embedded Postgres and waits: what the tests kill. Arguments: data and cache folder. */
import { describeError } from '../../src/core/errors.ts';
import { startEmbeddedPostgres } from '../../src/db/db.ts';

const [dataFolder, cacheFolder] = process.argv.slice(2);
if (dataFolder === undefined || cacheFolder === undefined) throw new Error('two folders are needed');
try {
  const server = await startEmbeddedPostgres({ dataFolder, cacheFolder, testMode: true });
  process.stdout.write(`${JSON.stringify({ url: server.url, isAdopted: server.isAdopted })}\n`);
  // standard input ends when the parent does or says so
  process.stdin.resume();
  process.stdin.once('end', () => {
    void server.stop();
  });
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: describeError(error) })}\n`);
  process.exitCode = 1;
}
