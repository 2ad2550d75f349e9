#!/bin/sh
# Makes the topic, the queues, the functions and what connects them. May be run again.
set -eu
cd "$(dirname "$0")"

account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_DEFAULT_REGION:-us-east-1}
sqs="arn:aws:sqs:$region:$account"

# Version 1 of the AWS CLI has a host name of its own for SQS: the variable alone does not reach it.
queue_cli() {
    aws sqs "$@" ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}
}

topic=$(aws sns create-topic --name orders.fifo --attributes FifoTopic=true --query TopicArn --output text)

# The topic, and nobody else, may send to the queues.
policy='{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"sns.amazonaws.com\"},'
policy="$policy"'\"Action\":\"sqs:SendMessage\",\"Resource\":\"*\",\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":\"'"$topic"'\"}}}]}'
redrive='{\"deadLetterTargetArn\":\"'"$sqs"':orders-failed\",\"maxReceiveCount\":3}'
queue_cli create-queue --queue-name orders-failed >/dev/null
queue_cli create-queue --queue-name orders-ledger.fifo --attributes "{\"FifoQueue\":\"true\",\"Policy\":\"$policy\"}" >/dev/null
queue_cli create-queue --queue-name orders-mail \
    --attributes "{\"VisibilityTimeout\":\"5\",\"RedrivePolicy\":\"$redrive\",\"Policy\":\"$policy\"}" >/dev/null

for queue in orders-ledger.fifo orders-mail; do
    aws sns subscribe --topic-arn "$topic" --protocol sqs --notification-endpoint "$sqs:$queue" \
        --attributes RawMessageDelivery=true >/dev/null
done

for part in ledger mail api; do
    pileus deploy "$part" >/dev/null
done
aws lambda update-function-configuration --function-name orders-api --environment "Variables={TOPIC=$topic}" >/dev/null
aws lambda wait function-updated-v2 --function-name orders-api

connect() {
    there=$(aws lambda list-event-source-mappings --function-name "$1" --query 'length(EventSourceMappings)' --output text)
    if [ "$there" = 0 ]; then
        aws lambda create-event-source-mapping --function-name "$1" --event-source-arn "$sqs:$2" $3 >/dev/null
    fi
}
connect orders-ledger orders-ledger.fifo ""
connect orders-mail orders-mail "--function-response-types ReportBatchItemFailures"

aws lambda get-function-url-config --function-name orders-api --query FunctionUrl --output text
