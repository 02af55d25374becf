import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkConfig, configJsonSchema, configSchema, describeFault, loadConfig } from './config.ts';

const folder = join(import.meta.dirname, '..', '..', 'config');

function faultsOf(text: string): string[] {
  const result = checkConfig(text);
  return result.isValid ? [] : result.faults.map(describeFault);
}

describe('the configuration', () => {
  it('that comes with the package says exactly the defaults', () => {
    expect(loadConfig(join(folder, 'rollcall.yaml')).config).toEqual(configSchema.parse({}));
  });

  it('that comes with the package shows every setting, also those without a default', () => {
    const text = readFileSync(join(folder, 'rollcall.yaml'), 'utf8');
    for (const [name, section] of Object.entries(configSchema.shape)) {
      expect(text).toContain(`${name}:`);
      const shape: unknown = Reflect.get(Reflect.get(section.def, 'innerType') ?? {}, 'shape');
      for (const key of Object.keys(shape ?? {})) expect(text, `${name}.${key}`).toContain(` ${key}:`);
    }
  });

  it('has a JSON Schema on disk equal to the one made from the sections (npm run rollcall -- config schema)', () => {
    expect(JSON.parse(readFileSync(join(folder, 'rollcall.schema.json'), 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(configJsonSchema())),
    );
  });

  it('describes every setting', () => {
    const missing: string[] = [];
    const walk = (schema: unknown, path: string): void => {
      if (typeof schema !== 'object' || schema === null) return;
      if (path !== '' && Reflect.get(schema, 'description') === undefined) missing.push(path);
      for (const [name, child] of Object.entries((Reflect.get(schema, 'properties') as object | undefined) ?? {})) {
        walk(child, path === '' ? name : `${path}.${name}`);
      }
    };
    walk(configJsonSchema(), '');
    expect(missing).toEqual([]);
  });

  it('reports every fault at once, each with its line, its path and a remedy', () => {
    expect(
      faultsOf(
        'http:\n  prot: 80\n  port: "8080"\nlogging:\n  level: loud\nmanagment:\n  port: 1\nschedule:\n  concurrency: 0\n',
      ),
    ).toEqual([
      expect.stringMatching(/line 2: http\.prot: There is no such setting\. Did you mean port\?/),
      expect.stringMatching(/line 3: http\.port: must be a number, not text\. Port of the API/),
      expect.stringMatching(/line 5: logging\.level: must be one of .*debug/),
      expect.stringMatching(/line 7: managment: There is no such setting\. Did you mean management\?/),
      expect.stringMatching(/line 9: schedule\.concurrency: must be at least 1\./),
    ]);
  });

  it('names the known settings where none is near', () => {
    expect(faultsOf('logging:\n  verbosity: 3\n')).toEqual([expect.stringContaining('Known here: level.')]);
  });

  it('refuses a key that is set twice, and text that is not YAML, with the line', () => {
    expect(faultsOf('http:\n  port: 1\n  port: 2\n')).toEqual([expect.stringMatching(/line 3: .*unique/)]);
    expect(faultsOf('http: [1\n')).not.toEqual([]);
  });

  it('takes an empty file as the defaults', () => {
    expect(checkConfig('# nothing\n')).toEqual({ isValid: true, config: configSchema.parse({}) });
  });
});
