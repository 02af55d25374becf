/** Pushes that came together and do not go together: nothing may be saved of them in this transaction. */
export class NotTogether extends Error {}
