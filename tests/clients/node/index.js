// The functions that run on the official Node client.
'use strict';

exports.handler = async (event, context) => {
  if (event.fail) throw new TypeError('asked to');
  return { client: 'node', event, id: context.awsRequestId, name: context.functionName };
};

exports.streaming = awslambda.streamifyResponse(async (event, stream) => {
  const http = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  for (let piece = 0; piece < event.stream; piece++) http.write(`piece ${piece}\n`);
  if (event.break) throw new TypeError('asked to');
  http.end();
});
