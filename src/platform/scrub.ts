/**
 * platform/scrub: the last line of defense before text leaves the process. What should keep a secret out of a log is
 * the `Secret` type and the allow-list of fields; this catches the shapes we know when something slipped through.
 */
const shapes: readonly (readonly [RegExp, string])[] = [
  // our bearer tokens: rcl_<kind>_<id>_<secret>; the id may stay, it names the token in the audit trail
  [/\brcl_(scim|api|key|invite)_([0-9A-Za-z]{10})_[0-9A-Za-z]{8,}/g, 'rcl_$1_$2_[secret]'],
  [/\b(Bearer|Basic)\s+[0-9A-Za-z._~+/=-]{6,}/gi, '$1 [secret]'],
  // the password of a database or proxy URL
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@"]*):[^\s@"]+@/gi, '$1:[secret]@'],
];

export function scrub(text: string): string {
  let clean = text;
  for (const [pattern, replacement] of shapes) clean = clean.replace(pattern, replacement);
  return clean;
}
