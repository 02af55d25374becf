/** What the engine knows after a row of reads: the last word on every object, and the edges between living ones. */
import type { DirectoryEvent, DirectoryObject } from '../../src/connectors/contract/contract.ts';

export class Mirror {
  readonly objects = new Map<string, DirectoryObject>();
  readonly #edges = new Map<string, Set<string>>();

  apply(events: readonly DirectoryEvent[]): void {
    const swept = new Map<string, Set<string>>();
    const read = new Set<string>();
    for (const event of events) {
      if (event.type === 'upsert') {
        this.objects.set(event.object.anchor, event.object);
        read.add(event.object.anchor);
      } else if (event.type === 'tombstone' || event.type === 'absent') this.#remove(event.kind, event.anchor);
      else if (event.type === 'members') this.#applyMembers(event);
      else if (event.type === 'sweep') {
        const known = swept.get(event.kind) ?? new Set<string>();
        for (const anchor of event.anchors) known.add(anchor);
        swept.set(event.kind, known);
      }
    }
    for (const [kind, anchors] of swept) {
      for (const anchor of this.objects.keys()) {
        if (!anchors.has(anchor) && !read.has(anchor)) this.#remove(kind, anchor);
      }
    }
  }

  #remove(kind: string, anchor: string): void {
    if (this.objects.get(anchor)?.kind === kind) this.objects.delete(anchor);
  }

  #applyMembers(event: Extract<DirectoryEvent, { type: 'members' }>): void {
    const group = event.change === 'set' ? new Set<string>() : this.edgesOf(event.groupAnchor);
    for (const anchor of event.memberAnchors) {
      if (event.change === 'remove') group.delete(anchor);
      else group.add(anchor);
    }
    this.#edges.set(event.groupAnchor, group);
  }

  edgesOf(group: string): Set<string> {
    return this.#edges.get(group) ?? new Set<string>();
  }

  /** Living members, sorted. */
  membersOf(group: string): string[] {
    return [...this.edgesOf(group)].filter((anchor) => this.objects.has(anchor)).toSorted();
  }

  /** Comparable with toEqual. */
  effective(): { objects: Record<string, DirectoryObject>; members: Record<string, string[]> } {
    const anchors = [...this.objects.keys()].toSorted();
    const groups = anchors.filter((anchor) => this.objects.get(anchor)?.kind === 'group');
    return {
      objects: Object.fromEntries(
        anchors.flatMap((anchor) => Object.entries({ [anchor]: this.objects.get(anchor) })),
      ) as Record<string, DirectoryObject>,
      members: Object.fromEntries(groups.map((group) => [group, this.membersOf(group)])),
    };
  }
}
