/** `npm run test:proof`: minutes of faults against real servers, kept out of `npm test`. One file after the other: each wants the machine. */
export default {
  files: ['dist/test/proof/*.proof.js'],
  require: ['./dist/test/helpers/seed.js'],
  timeout: '20m',
  concurrency: 1,
};
