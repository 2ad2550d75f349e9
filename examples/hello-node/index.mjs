// Greets whoever calls: by invocation ({"name": "Ada"}) or by URL (?name=Ada).
export const handler = async (event, context) => {
  const name = event.name ?? event.queryStringParameters?.name ?? "world";
  console.log(`greeting ${name}`);
  return { message: `Hello, ${name}!`, node: process.version, request: context.awsRequestId };
};
