import fc from 'fast-check';

/** Every run of the tests tries the same examples, so that a failure is the change's; another seed tries others. */
fc.configureGlobal({ seed: Number(process.env['CAUSELINE_SEED'] ?? 20_261_124) });
