/** A text in SQL. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
