/** What a bench takes and prints. */

export type BenchOptions = {
  readonly users: number;
  readonly groups: number;
  readonly requests: number;
  readonly connections: number;
  /** Only the size asked for, without the smaller ones beside it. */
  readonly isAlone: boolean;
};

export type Figure = {
  readonly bench: string;
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  /** What we aim for; printed beside the value, never enforced. */
  readonly goal?: number;
};

export type Report = (figure: string, value: number, unit: string, goal?: number) => void;

export function createReport(bench: string): Report {
  return (figure, value, unit, goal) => {
    const rounded = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
    const line: Figure = { bench, figure, value: rounded, unit, ...(goal === undefined ? {} : { goal }) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
}

export function tell(message: string): void {
  process.stderr.write(`${message}\n`);
}
