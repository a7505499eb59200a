import test from 'ava';
import fc from 'fast-check';
import type { MetricRow } from '../../shared/evidence.js';
import { sha256 } from '../../shared/hash.js';
import { SeriesHashes } from '../../shared/store/series-hashes.js';

test('a series has the hash of its parts, whichever were asked for before', (t) => {
  const word = fc.constantFrom('', 'a', 'b', 'a\nb', '{}');
  const series = fc.record({
    metric: word,
    attributes: word,
    service: fc.option(word),
    instance: fc.option(word),
  });
  fc.assert(
    fc.property(fc.array(series, { maxLength: 40 }), (asked) => {
      const hashes = new SeriesHashes();
      for (const { metric, service, instance, attributes } of asked) {
        const text = `${metric}\n${service ?? ''}\n${instance ?? ''}\n${attributes}`;
        t.is(hashes.of({ metric, service, instance, attributes } as MetricRow), sha256(text).slice(0, 32));
      }
    }),
  );
});
