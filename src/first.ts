/**
 * The first import of every process of Rollcall. Imports run before the importing module's body, so what stands here
 * runs before any library is loaded.
 *
 * Deletes the `__proto__` accessor: a library that walks a path it was given (scimmy 1.3.5 does, by filter and by
 * PATCH path) then can not reach Object.prototype by that name. `node --disable-proto=delete` does the same where we
 * own the command line; here it also holds for `npx rollcall`.
 */
Reflect.deleteProperty(Object.prototype, '__proto__');

export {};
