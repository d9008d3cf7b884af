// An S3 server on loopback, for tests: `s3rver`, and what that lacks: signatures (version 4), If-None-Match, an end of uploads, and a way to
// be told how to treat a request. Says its port, then a line for each request; takes commands on standard input, and ends with that.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const readline = require('readline');
const S3rver = require('s3rver');

const [, , folder] = process.argv;
const server = new S3rver({
  directory: folder,
  silent: true,
  vhostBuckets: false,
  allowMismatchedSignatures: false,
  configureBuckets: [{ name: 'bucket' }],
});
const handle = server.callback();
const say = line => process.stdout.write(`${line}\n`);

// The requests (`METHOD URL`) that are meant, and what happens to them: `before`: they wait; `after`: they are carried out, and nobody is
// told; `refuse`: 403; `stumble`: the first gets a 503; `lacks`: 501 where they have a condition.
let how = null;
let which = null;
let waiting = [];

const commands = {
  go() {
    how = null;
    waiting.splice(0).forEach(carryOut => carryOut());
  },
  // Those that wait go on waiting.
  calm() {
    how = null;
  },
  // Every object by its key, as the file that holds its bytes; and how many uploads are unfinished.
  list() {
    const [objects, top, end] = [{}, path.join(folder, 'bucket'), '._S3rver_object'];
    let uploads = 0;
    for (const name of fs.readdirSync(top, { recursive: true })) {
      if (name.endsWith(end)) {
        objects[server.store.constructor.decodeKeyPath(name.slice(0, -end.length))] = path.join(top, name);
      } else if (path.basename(name) === 'metadata') {
        uploads += 1;
      }
    }
    return JSON.stringify({ objects, uploads });
  },
};

// https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
function isSigned(request) {
  const parts = /Credential=S3RVER\/([^,]+), *SignedHeaders=([^,]+), *Signature=(\w+)/.exec(request.headers.authorization);
  if (!parts) return false;
  const [, scope, headers, signature] = parts;
  const [place, query = ''] = request.url.split('?');
  const hash = text => crypto.createHash('sha256').update(text).digest('hex');
  const canonical = [
    request.method,
    place,
    query.split('&').sort().join('&'),
    ...headers.split(';').map(name => `${name}:${request.headers[name].trim().replace(/ +/g, ' ')}`),
    '',
    headers,
    request.headers['x-amz-content-sha256'],
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, hash(canonical)].join('\n');
  const key = scope.split('/').reduce((key, part) => crypto.createHmac('sha256', key).update(part).digest(), 'AWS4S3RVER');
  return crypto.createHmac('sha256', key).update(text).digest('hex') === signature;
}

async function condition(request) {
  if (request.headers['if-none-match'] !== '*' || !['PUT', 'POST'].includes(request.method)) return null;
  if (how === 'lacks') return [501, 'NotImplemented'];
  const [, bucket, ...key] = decodeURIComponent(request.url.split('?')[0]).split('/');
  return (await server.store.existsObject(bucket, key.join('/'))) ? [412, 'PreconditionFailed'] : null;
}

async function carryOut(request, response, line, silently) {
  const wrong = await condition(request);
  if (wrong) return answer(request, response, line, wrong);
  if (silently) {
    response.write = () => true;
    response.end = () => {
      say(`held ${line}`);
      return response;
    };
  }
  response.on('finish', () => say(`${response.statusCode} ${line}`));
  const ended = /^DELETE \/([^/]+).*[?&]uploadId=(\w+)/.exec(line);
  if (ended) {
    const uploads = server.store.getResourcePath(ended[1], undefined, 'uploads');
    fs.rmSync(path.join(uploads, ended[2]), { recursive: true });
    response.writeHead(204).end();
  } else {
    handle(request, response);
  }
}

function answer(request, response, line, [status, code]) {
  request.resume();
  request.on('end', () => {
    say(`${status} ${line}`);
    response.writeHead(status).end(`<Error><Code>${code}</Code><Message>as told</Message></Error>`);
  });
}

http
  .createServer((request, response) => {
    const line = `${request.method} ${request.url}`;
    const now = how && which.test(line) ? how : null;
    if (!isSigned(request)) {
      answer(request, response, line, [403, 'SignatureDoesNotMatch']);
    } else if (now === 'before') {
      waiting.push(() => carryOut(request, response, line, false));
      say(`held ${line}`);
    } else if (now === 'refuse') {
      answer(request, response, line, [403, 'AccessDenied']);
    } else if (now === 'stumble') {
      how = null;
      answer(request, response, line, [503, 'SlowDown']);
    } else {
      carryOut(request, response, line, now === 'after');
    }
  })
  .listen(0, '127.0.0.1', async function () {
    await server.configureBuckets();
    say(this.address().port);
  });

const input = readline.createInterface({ input: process.stdin });
input.on('line', line => {
  const [command, word] = line.split(' ');
  if (commands[command]) return say(`told ${commands[command]() || ''}`);
  [how, which] = [command, new RegExp(word)];
  say('told');
});
input.on('close', () => process.exit(0));
