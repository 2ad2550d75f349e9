"""PartiQL, backups and point-in-time recovery through boto3 and the AWS CLI."""

import datetime
import json
import time

import pytest
from botocore.exceptions import ClientError

from harness import eventually


@pytest.fixture
def dynamodb(server):
    return server.client("dynamodb")


@pytest.fixture
def table(dynamodb, name):
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_statements_write_and_read(server, dynamodb, table):
    run = lambda statement, *parameters, **more: dynamodb.execute_statement(
        Statement=statement, **({"Parameters": list(parameters)} if parameters else {}), **more
    )["Items"]
    for sk in range(5):
        run(f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': ?, 'tags': <<'x', 'y'>>}}", {"N": str(sk)})
    found = run(f'SELECT sk FROM "{table}" WHERE pk = ? AND sk BETWEEN 1 AND 3 ORDER BY sk DESC', {"S": "a"})
    assert [item["sk"]["N"] for item in found] == ["3", "2", "1"]
    found = run(f"UPDATE \"{table}\" SET tags = set_delete(tags, <<'x'>>) SET n = 1 WHERE pk='a' AND sk=0 RETURNING ALL NEW *")
    assert found == [{"pk": {"S": "a"}, "sk": {"N": "0"}, "tags": {"SS": ["y"]}, "n": {"N": "1"}}]
    assert run(f"DELETE FROM \"{table}\" WHERE pk='a' AND sk=4 RETURNING ALL OLD *")[0]["sk"] == {"N": "4"}
    assert refused(dynamodb.execute_statement, Statement=f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': 0}}") == (
        "DuplicateItemException",
        "Duplicate primary key exists in table",
    )
    assert refused(dynamodb.execute_statement, Statement="SLECT * FROM x") == (
        "ValidationException",
        "Statement wasn't well formed, can't be processed: Expected data manipulation",
    )
    seen, token = [], {}
    while True:
        page = dynamodb.execute_statement(Statement=f'SELECT * FROM "{table}"', Limit=3, **token)
        seen += [item["sk"]["N"] for item in page["Items"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert sorted(seen) == ["0", "1", "2", "3"]
    done = server.aws("dynamodb", "execute-statement", "--statement", f"SELECT * FROM \"{table}\" WHERE pk = 'a' AND sk = 2")
    assert json.loads(done.stdout)["Items"][0]["sk"] == {"N": "2"}


def test_a_backup_is_restored_and_listed(dynamodb, table, name):
    for sk in range(50):
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "b"}, "sk": {"N": str(sk)}, "v": {"S": "old"}})
    arn = dynamodb.create_backup(TableName=table, BackupName="nightly")["BackupDetails"]["BackupArn"]
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "b"}, "sk": {"N": "0"}, "v": {"S": "new"}})
    status = lambda: dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"]
    eventually(lambda: status() == "AVAILABLE", what="the backup")
    assert [one["BackupName"] for one in dynamodb.list_backups(TableName=table)["BackupSummaries"]] == ["nightly"]
    target = f"{table}-restored"
    made = dynamodb.restore_table_from_backup(TargetTableName=target, BackupArn=arn)["TableDescription"]
    assert made["RestoreSummary"]["SourceBackupArn"] == arn and made["RestoreSummary"]["RestoreInProgress"]
    dynamodb.get_waiter("table_exists").wait(TableName=target, WaiterConfig={"Delay": 1})
    items = dynamodb.scan(TableName=target)["Items"]
    assert len(items) == 50 and {item["v"]["S"] for item in items} == {"old"}
    assert dynamodb.delete_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]["BackupStatus"] == "DELETED"
    assert refused(dynamodb.describe_backup, BackupArn=arn)[0] == "BackupNotFoundException"


def test_a_moment_is_restored_across_a_kill(own, name):
    server = own().start()
    dynamodb = server.client("dynamodb")
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    on = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=on)
    for number in range(30):
        dynamodb.put_item(TableName=name, Item={"id": {"N": str(number)}})
    time.sleep(0.05)
    moment = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.05)
    for number in range(30):
        dynamodb.delete_item(TableName=name, Key={"id": {"N": str(number)}})
    dynamodb.restore_table_to_point_in_time(SourceTableName=name, TargetTableName="then", RestoreDateTime=moment)
    server.kill()
    server.restart()
    dynamodb = server.client("dynamodb")
    dynamodb.get_waiter("table_exists").wait(TableName="then", WaiterConfig={"Delay": 1})
    assert dynamodb.scan(TableName="then", Select="COUNT")["Count"] == 30
    assert dynamodb.scan(TableName=name, Select="COUNT")["Count"] == 0


def test_what_other_services_would_be_needed_for_is_said_or_refused(dynamodb, table):
    assert dynamodb.list_global_tables()["GlobalTables"] == []
    assert dynamodb.list_exports()["ExportSummaries"] == [] and dynamodb.list_imports()["ImportSummaryList"] == []
    assert dynamodb.describe_contributor_insights(TableName=table)["ContributorInsightsStatus"] == "DISABLED"
    assert dynamodb.describe_kinesis_streaming_destination(TableName=table)["KinesisDataStreamDestinations"] == []
    assert refused(dynamodb.describe_global_table, GlobalTableName=table)[0] == "GlobalTableNotFoundException"
    for call, members in [
        (dynamodb.update_contributor_insights, {"TableName": table, "ContributorInsightsAction": "ENABLE"}),
        (dynamodb.create_global_table, {"GlobalTableName": table, "ReplicationGroup": [{"RegionName": "us-east-1"}]}),
        (dynamodb.export_table_to_point_in_time, {"TableArn": table, "S3Bucket": "bucket"}),
    ]:
        assert refused(call, **members)[0] == "NotImplementedException"
