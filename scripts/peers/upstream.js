// An upstream in Node as people write them: node upstream.js PORT BODY. Its own defaults, no packages.
// What it answers: BODY to most; /slow after a while, /echo what it got, /chunks and /trailers in pieces, /events as a
// stream of events, /fields what fields it saw, and an upgrade by echoing bytes.
'use strict';
const http = require('http');

const [port, body] = [Number(process.argv[2]), process.argv[3] || 'body'];

const pages = {
  '/slow': (query, request, response) => setTimeout(() => response.end(body), Number(query.get('ms') || 500)),
  '/echo': (query, request, response) => {
    response.setHeader('X-Expect', request.headers.expect || 'none');
    request.pipe(response);
  },
  '/sum': (query, request, response) => {
    let count = 0;
    request.on('data', (piece) => { count += piece.length; });
    request.on('end', () => response.end(String(count)));
  },
  '/chunks': (query, request, response) => {
    let left = 20;
    const timer = setInterval(() => {
      response.write(`piece ${left}\n`);
      left -= 1;
      if (left === 0) {
        clearInterval(timer);
        response.end('end\n');
      }
    }, 5);
  },
  '/trailers': (query, request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', Trailer: 'X-Sum' });
    response.write('with a trailer');
    response.addTrailers({ 'X-Sum': '14' });
    response.end();
  },
  '/request-trailers': (query, request, response) => {
    request.resume();
    request.on('end', () => response.end(JSON.stringify(request.trailers)));
  },
  '/events': (query, request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    let number = 0;
    const timer = setInterval(() => { number += 1; response.write(`id: ${number}\ndata: ${Date.now()}\n\n`); }, 50);
    response.on('close', () => clearInterval(timer));
  },
  '/fields': (query, request, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ url: request.url, method: request.method, fields: request.rawHeaders }));
  },
  '/early': (query, request, response) => {
    response.writeHead(403, { 'Content-Length': '2', Connection: 'close' });
    response.end('no');
  },
  '/close': (query, request, response) => {
    response.writeHead(200, { Connection: 'close', 'Content-Type': 'text/plain' });
    response.end(body);
  },
  '/cut': (query, request, response) => {
    response.writeHead(200, { 'Content-Length': '1000' });
    response.write('not all');
    setTimeout(() => request.socket.destroy(), 20);
  },
  '/hints': (query, request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
    setTimeout(() => response.end(body), 20);
  },
};

const server = http.createServer((request, response) => {
  const [path, query] = request.url.split('?');
  response.setHeader('X-Upstream', String(port));
  const page = pages[path];
  if (page) {
    page(new URLSearchParams(query || ''), request, response);
    return;
  }
  request.resume();
  response.setHeader('Content-Type', 'application/octet-stream');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
});

server.on('upgrade', (request, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n');
  if (head.length > 0) {
    socket.write(head);
  }
  socket.on('error', () => {});
  socket.pipe(socket);
});

server.listen(port, '127.0.0.1', 4096);
