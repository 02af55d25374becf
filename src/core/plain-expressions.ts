/**
 * Nearly every mapping is `object.mail`, or one attribute where there is no other. Those need no interpreter: a directory
 * of a million people asks for them fifteen million times per read. Whatever is not of this small kind stays with CEL, and
 * a test compares both.
 */
import type { ASTNode } from '@marcbachmann/cel-js';

type Attributes = Readonly<Record<string, unknown>>;
type Read = (object: Attributes) => unknown;

/** Null when the expression is not of the small kind. */
export function compilePlain(node: ASTNode): Read | null {
  const read = compileValue(node);
  if (read !== null || node.op !== '?:') return read;
  const [condition, then, otherwise] = node.args;
  const [holds, whenTrue, whenFalse] = [compileNullCheck(condition), compilePlain(then), compilePlain(otherwise)];
  if (holds === null || whenTrue === null || whenFalse === null) return null;
  return (object) => (holds(object) ? whenTrue(object) : whenFalse(object));
}

/** An attribute, a text or null. */
function compileValue(node: ASTNode): Read | null {
  if (node.op === 'value' && (node.args === null || typeof node.args === 'string')) {
    const value = node.args;
    return () => value;
  }
  const name = attributeOf(node);
  return name === null ? null : (object) => (Object.hasOwn(object, name) ? (object[name] ?? null) : null);
}

function attributeOf(node: ASTNode): string | null {
  if (node.op !== '.' && node.op !== '[]') return null;
  const [of, key] = node.args;
  if (of.op !== 'id' || of.args !== 'object') return null;
  if (typeof key === 'string') return key;
  return key.op === 'value' && typeof key.args === 'string' ? key.args : null;
}

/** `object.name != null` and its opposite. */
function compileNullCheck(node: ASTNode): ((object: Attributes) => boolean) | null {
  if (node.op !== '!=' && node.op !== '==') return null;
  const [left, right] = node.args;
  if (right.op !== 'value' || right.args !== null || attributeOf(left) === null) return null;
  const read = compileValue(left);
  if (read === null) return null;
  return node.op === '!=' ? (object) => read(object) !== null : (object) => read(object) === null;
}
