/** How the demo speaks: chapters, paragraphs and blocks, at most 100 columns wide. */
import { cutToWidth, displayWidth } from '../../src/cli/output.ts';

export type Narrator = {
  readonly width: number;
  chapter(title: string): void;
  /** Wrapped at the width. */
  say(text: string): void;
  /** Lines as they are, indented; what is too wide is cut. */
  show(text: string): void;
  /** One line, cut where it is too wide. */
  line(text: string): void;
};

const widest = 100;
const indent = '  ';

/** `write` may throw to end the story. */
export function createNarrator(write: (text: string) => void, columns: number | undefined): Narrator {
  const width = Math.min(columns ?? widest, widest);
  let chapters = 0;
  let isAfterBlank = true;
  const block = (lines: readonly string[]): void => {
    write(`${isAfterBlank ? '' : '\n'}${lines.map((line) => cutToWidth(line, width)).join('\n')}\n\n`);
    isAfterBlank = true;
  };
  const paragraph = (lines: readonly string[]): void => {
    write(`${lines.join('\n')}\n`);
    isAfterBlank = false;
  };
  return {
    width,
    chapter: (title) => {
      chapters += 1;
      const heading = `${chapters}. ${title}`;
      if (!isAfterBlank) write('\n');
      paragraph([heading, '─'.repeat(displayWidth(heading))]);
    },
    say: (text) => {
      paragraph(wrap(text, width));
    },
    show: (text) => {
      block(
        text
          .trimEnd()
          .split('\n')
          .map((line) => `${indent}${line}`.trimEnd()),
      );
    },
    line: (text) => {
      paragraph([cutToWidth(text, width)]);
    },
  };
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (displayWidth(longer) <= width) line = longer;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line];
}
