import test from 'ava';
import { Recent } from '../../shared/recent.js';

test('what was made of a text is made once, but of a long one each time', (t) => {
  const recent = new Recent<{ length: number }>();
  const made: string[] = [];
  const make = (text: string) => {
    made.push(text);
    return { length: text.length };
  };
  const long = 'x'.repeat(10_000);
  for (const text of ['a', 'a', long, long, '', 'a', '']) t.is(recent.of(text, make).length, text.length);
  t.deepEqual(made, ['a', long, long, '']);
});

test('what it holds is bounded by characters', (t) => {
  const recent = new Recent<number>();
  let most = 0;
  for (let n = 0; n < 10_000; n++) {
    t.is(recent.of(String(n).padStart(4_000, ' '), Number), n);
    most = Math.max(most, recent.size);
  }
  t.true(most >= 1_000 && most <= 1_100, String(most));
});
