// The function that runs on the official Node client.
'use strict';

exports.handler = async (event, context) => {
  if (event.fail) throw new TypeError('asked to');
  return { client: 'node', event, id: context.awsRequestId, name: context.functionName };
};
