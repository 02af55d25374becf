/**
 * Which addresses the dialer may dial. Reserved ranges are those of the IANA special-purpose registries (RFC 6890 and
 * updates); an IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4) counts as that IPv4 address too.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { RollcallError } from '../core/errors.ts';

export type AddressPolicy = {
  /** `host` is what the admin typed, `address` what it resolved to. */
  allows(host: string, address: string): boolean;
};

const reserved4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32', // Azure's platform address (metadata, DNS): public range, reachable from every Azure machine
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];

const reserved6 = [
  '::/128',
  '::1/128',
  '64:ff9b:1::/48', // NAT64 with a network's own prefix (RFC 8215): leads inside by purpose
  '100::/64',
  '2001::/23', // Teredo, ORCHID, benchmarking
  '2001:db8::/32',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
];

export function createAddressPolicy(allowPrivateRanges: readonly string[]): AddressPolicy {
  const reserved = new BlockList();
  for (const range of [...reserved4, ...reserved6]) addRange(reserved, range);
  const allowed = new BlockList();
  const allowedHosts = new Set<string>();
  for (const entry of allowPrivateRanges) {
    if (entry.includes('/') || isIP(entry) !== 0) addRange(allowed, entry);
    else allowedHosts.add(hostKey(entry));
  }

  const contains = (list: BlockList, address: string): boolean =>
    list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
  return {
    allows(host, address) {
      if (isIP(address) === 0) return false;
      if (allowedHosts.has(hostKey(host))) return true;
      const bare = address.replace(/%.*$/, '');
      if (contains(allowed, bare)) return true;
      return [bare, ...embeddedIpv4(bare)].every((each) => contains(allowed, each) || !contains(reserved, each));
    },
  };
}

function hostKey(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

function addRange(list: BlockList, range: string): void {
  const [address = '', bits] = range.split('/');
  const family = isIP(address);
  const prefix = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits);
  const isValid = family !== 0 && /^\d+$/.test(String(prefix)) && prefix <= (family === 4 ? 32 : 128) && bits !== '';
  if (!isValid) {
    throw new RollcallError('invalid_config', `"${range}" is neither an address range nor a host name.`, {
      remedy: 'Write ranges like 10.1.0.0/16 or fd00::/8.',
    });
  }
  list.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6');
}

/** IPv4 addresses an IPv6 address leads to. The IPv6 form itself is checked as well. */
function embeddedIpv4(address: string): string[] {
  if (isIPv4(address)) return [];
  const words = ipv6Words(address);
  const at = (index: number): string => {
    const [high = 0, low = 0] = [words[index], words[index + 1]];
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  };
  const startsWith = (...prefix: number[]): boolean => prefix.every((word, index) => words[index] === word);
  if (startsWith(0, 0, 0, 0, 0, 0xffff) || startsWith(0, 0, 0, 0, 0, 0)) return [at(6)]; // mapped, compatible
  if (startsWith(0, 0, 0, 0, 0xffff, 0)) return [at(6)]; // IPv4-translated (RFC 2765)
  if (startsWith(0x64, 0xff9b, 0, 0, 0, 0)) return [at(6)]; // NAT64 (RFC 6052)
  if (startsWith(0x2002)) return [at(1)]; // 6to4 (RFC 3056)
  return [];
}

function ipv6Words(address: string): number[] {
  const dotted = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, a, b, c, d) => {
    const word = (high: string, low: string): string => ((Number(high) << 8) | Number(low)).toString(16);
    return `${word(a, b)}:${word(c, d)}`;
  });
  const [head = '', tail] = dotted.split('::');
  const wordsOf = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
  if (tail === undefined) return wordsOf(head);
  const [left, right] = [wordsOf(head), wordsOf(tail)];
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
}
