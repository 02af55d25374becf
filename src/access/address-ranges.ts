/** access/address-ranges: from where a token may be used, as CIDR ranges (RFC 4632, RFC 4291 section 2.3). */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { RollcallError } from '../core/errors.ts';

const maxRanges = 100;

/** The ranges as they are stored: a lone address is a range of one. Throws invalid_input for what is no range. */
export function parseRanges(texts: readonly string[]): string[] {
  if (texts.length > maxRanges) throw faulty(`A token has at most ${maxRanges} address ranges.`);
  return [...new Set(texts.map(parseRange))];
}

function parseRange(text: string): string {
  const trimmed = text.trim().toLowerCase();
  const [address = '', bits, ...rest] = trimmed.split('/');
  const widest = isIPv4(address) ? 32 : isIPv6(address) && !address.includes('%') ? 128 : null;
  const prefix = bits === undefined ? widest : /^\d{1,3}$/.test(bits) ? Number(bits) : null;
  if (widest === null || prefix === null || prefix > widest || rest.length > 0) {
    throw faulty(`"${text.slice(0, 100)}" is no address range.`);
  }
  return `${address}/${prefix}`;
}

function faulty(message: string): RollcallError {
  return new RollcallError('invalid_input', message, {
    remedy: 'Write ranges as 203.0.113.0/24 or 2001:db8::/32.',
    details: { path: 'allowedRanges' },
  });
}

/** True where no range is given; an address that can not be read lies in none. */
export function isWithin(ranges: readonly string[], address: string | undefined): boolean {
  if (ranges.length === 0) return true;
  const plain = plainAddress(address ?? '');
  const family = isIP(plain);
  if (family === 0) return false;
  const list = new BlockList();
  for (const range of ranges) {
    const [base = '', bits] = range.split('/');
    list.addSubnet(base, Number(bits), isIPv4(base) ? 'ipv4' : 'ipv6');
  }
  return list.check(plain, family === 4 ? 'ipv4' : 'ipv6');
}

/** A socket that listens on IPv6 calls an IPv4 peer ::ffff:192.0.2.1. */
function plainAddress(address: string): string {
  const bare = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  return mapped ?? bare;
}
