/**
 * The first import of every process of Rollcall. Imports run before the importing module's body, so what stands here
 * runs before any library is loaded.
 *
 * Deletes the `__proto__` accessor: a library that walks a path it was given (scimmy 1.3.5 does, by filter and by
 * PATCH path) then can not reach Object.prototype by that name. `node --disable-proto=delete` does the same where we
 * own the command line; here it also holds for `npx rollcall`.
 *
 * Keeps compiled code between starts: a command spends half its time on compiling otherwise. In a folder of the
 * package, because whoever can write there can change the program anyway (the usual place is below /tmp); where that
 * is not writable, nothing is kept. NODE_COMPILE_CACHE goes before it.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

enableCompileCache(join(import.meta.dirname, '..', 'node_modules', '.cache', 'compiled'));
Reflect.deleteProperty(Object.prototype, '__proto__');
