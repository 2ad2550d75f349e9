//! PartiQL through the service: the same items as by the native operations, pages that end, batches and transactions.

use model_dynamodb::*;

use crate::support::{Refusal, WireItem, World, definition, item, keys, n, projection, s};

async fn world() -> World {
    let world = World::new();
    let table = CreateTableInput {
        table_name: "things".to_owned(),
        attribute_definitions: Some(vec![
            definition("pk", ScalarAttributeType::S),
            definition("sk", ScalarAttributeType::N),
            definition("owner", ScalarAttributeType::S),
        ]),
        key_schema: Some(keys("pk", Some("sk"))),
        local_secondary_indexes: Some(vec![LocalSecondaryIndex {
            index_name: "local".to_owned(),
            key_schema: keys("pk", Some("owner")),
            projection: projection(ProjectionType::KeysOnly, None),
        }]),
        global_secondary_indexes: Some(vec![GlobalSecondaryIndex {
            index_name: "owners".to_owned(),
            key_schema: keys("owner", Some("sk")),
            projection: projection(ProjectionType::Include, Some(&["size"])),
            ..GlobalSecondaryIndex::default()
        }]),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..CreateTableInput::default()
    };
    world.create(table).await.unwrap();
    for (pk, owner) in [("a", "x"), ("b", "y"), ("c", "x")] {
        for sk in 0..5 {
            let whole =
                item(&[("pk", s(pk)), ("sk", n(sk)), ("owner", s(owner)), ("size", n(sk * 10)), ("more", s("m"))]);
            world
                .put(PutItemInput { table_name: "things".to_owned(), item: whole, ..PutItemInput::default() })
                .await
                .unwrap();
        }
    }
    world
}

fn input(statement: &str) -> ExecuteStatementInput {
    ExecuteStatementInput { statement: statement.to_owned(), ..ExecuteStatementInput::default() }
}

async fn rows(world: &World, statement: &str) -> Vec<WireItem> {
    world.statement(input(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error:?}")).items.unwrap()
}

async fn refused(world: &World, statement: &str) -> Refusal {
    world.statement(input(statement)).await.unwrap_err()
}

fn named(rows: &[WireItem]) -> Vec<String> {
    let name = |row: &WireItem| format!("{}{}", row["pk"].s.clone().unwrap(), row["sk"].n.clone().unwrap());
    rows.iter().map(name).collect()
}

#[tokio::test]
async fn a_select_reads_what_its_condition_names() {
    let world = world().await;
    for (statement, wanted) in [
        ("SELECT * FROM things WHERE pk = 'a' AND sk > 2", "a3 a4"),
        ("SELECT pk, sk FROM things WHERE pk = 'a' ORDER BY sk DESC", "a4 a3 a2 a1 a0"),
        ("SELECT pk, sk FROM things WHERE pk IN ['c', 'a'] AND sk = 1 ORDER BY pk", "a1 c1"),
        ("SELECT pk, sk FROM things WHERE pk IN ('c', 'a') AND sk < 2 ORDER BY pk DESC, sk", "c0 c1 a0 a1"),
        ("SELECT pk, sk FROM things WHERE (pk = 'b' AND sk = 1) OR (pk = 'a' AND \"size\" = 40)", "b1 a4"),
        ("SELECT * FROM \"things\".\"owners\" WHERE owner = 'y' AND sk BETWEEN 1 AND 2", "b1 b2"),
        ("SELECT pk, sk FROM things WHERE pk = 'a' AND NOT sk IN [0, 1, 2] AND attribute_exists(more)", "a3 a4"),
        ("SELECT pk, sk FROM things WHERE pk = 'nobody'", ""),
    ] {
        let found = rows(&world, statement).await;
        assert_eq!(named(&found).join(" "), wanted, "{statement}");
    }
    assert_eq!(rows(&world, "SELECT * FROM things WHERE more = 'm' AND gone IS MISSING").await.len(), 15);
    // Entries whose index key is the same come in no order that one could rely on.
    let local = "SELECT pk, sk, more FROM \"things\".\"local\" WHERE pk = 'b' AND owner = 'y'";
    let mut found = named(&rows(&world, local).await);
    found.sort();
    assert_eq!(found.join(" "), "b0 b1 b2 b3 b4");
    let found = rows(&world, "SELECT \"size\" FROM things.owners WHERE owner = 'y' AND sk = 3").await;
    assert_eq!(found, [item(&[("size", n(30))])]);
}

#[tokio::test]
async fn pages_of_a_select_end_and_hold_every_row_once() {
    let world = world().await;
    for statement in [
        "SELECT pk, sk FROM things",
        "SELECT pk, sk FROM things WHERE pk IN ['a', 'b', 'c']",
        "SELECT pk, sk FROM things.owners WHERE owner IN ['y', 'x']",
    ] {
        let (mut seen, mut token, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = ExecuteStatementInput { limit: Some(2), next_token: token, ..input(statement) };
            let page = world.statement(page).await.unwrap();
            let found = page.items.unwrap();
            assert!(found.len() <= 2);
            seen.extend(named(&found));
            pages += 1;
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        seen.sort();
        seen.dedup();
        assert!(seen.len() == 15 && pages <= 10, "{statement}: {seen:?} on {pages} pages");
    }
    let first = ExecuteStatementInput { limit: Some(2), ..input("SELECT * FROM things") };
    let token = world.statement(first).await.unwrap().next_token;
    for (statement, token) in [("SELECT pk FROM things", token.unwrap()), ("SELECT * FROM things", "AAAA".to_owned())] {
        let other = ExecuteStatementInput { next_token: Some(token), ..input(statement) };
        assert_eq!(world.statement(other).await.unwrap_err().1, "NextToken does not match request");
    }
}

#[tokio::test]
async fn writes_change_one_item_and_give_back_what_is_asked_for() {
    let world = world().await;
    assert!(
        rows(&world, "INSERT INTO things VALUE {'pk': 'n', 'sk': 1, 'list': [1], 'set': <<'a'>>}").await.is_empty()
    );
    assert_eq!(
        refused(&world, "INSERT INTO things VALUE {'pk': 'n', 'sk': 1}").await,
        ("DuplicateItemException".to_owned(), "Duplicate primary key exists in table".to_owned())
    );
    let update = "UPDATE things SET \"list\" = list_append(\"list\", [2]) SET \"set\" = set_add(\"set\", <<'b'>>) REMOVE gone \
                  WHERE pk = 'n' AND sk = 1 RETURNING MODIFIED NEW *";
    let found = rows(&world, update).await;
    let list = AttributeValue { l: Some(vec![n(1), n(2)]), ..AttributeValue::default() };
    let set = AttributeValue { ss: Some(vec!["a".to_owned(), "b".to_owned()]), ..AttributeValue::default() };
    assert_eq!(found, [item(&[("list", list), ("set", set)])]);
    let failed = ("ConditionalCheckFailedException".to_owned(), "The conditional request failed".to_owned());
    for statement in [
        "UPDATE things SET a = 1 WHERE pk = 'nobody' AND sk = 1",
        "UPDATE things SET a = 1 WHERE pk = 'n' AND sk = 1 AND a = 2",
        "DELETE FROM things WHERE pk = 'n' AND sk = 1 AND a = 2",
    ] {
        assert_eq!(refused(&world, statement).await, failed, "{statement}");
    }
    // What is not there is as good as deleted, on whatever condition.
    assert!(rows(&world, "DELETE FROM things WHERE pk = 'nobody' AND sk = 1 AND a = 2").await.is_empty());
    let gone = rows(&world, "DELETE FROM things WHERE pk = 'n' AND sk = 1 RETURNING ALL OLD *").await;
    assert_eq!(named(&gone), ["n1"]);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_the_words_of_aws() {
    let world = world().await;
    for (statement, message) in [
        (
            "SELECT pk FROM \"things\".\"owners\" WHERE owner = 'y' AND more = 'np1'",
            "One or more parameter values were invalid: Secondary index owners does not project one or more filter \
             attributes: [more]",
        ),
        (
            "SELECT pk FROM \"things\".\"local\" WHERE pk = 'p' AND more = 'np1'",
            "One or more parameter values were invalid: Secondary index local does not project one or more filter \
             attributes: [more]",
        ),
        (
            "SELECT more FROM \"things\".\"owners\" WHERE owner = 'y'",
            "One or more parameter values were invalid: Global secondary index owners does not project [more]",
        ),
        ("SELECT * FROM \"things\".\"no-such-index\" WHERE pk = 'p'", "The table does not have the specified index"),
        ("SELECT * FROM \"things\".\"things\" WHERE pk = 'p'", "The table does not have the specified index"),
        (
            "DELETE FROM things WHERE more = 'alpha'",
            "Where clause does not contain a mandatory equality on all key attributes",
        ),
        ("FROM things SET c = 1", "Where clause does not contain a mandatory equality on all key attributes"),
        ("SELECT * FROM things ORDER BY pk", "Must have WHERE clause in the statement when using ORDER BY clause."),
        (
            "SELECT * FROM things WHERE sk = 1 ORDER BY pk",
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
        ),
        (
            "UPDATE things SET more = set_add(more, <<'x'>>) WHERE pk = 'a' AND sk = 1",
            "An operand in the update expression has an incorrect data type",
        ),
        (
            "UPDATE things SET pk = 'z' WHERE pk = 'a' AND sk = 1",
            "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
        ),
        (
            "SELECT * FROM things WHERE pk = 1",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
    ] {
        assert_eq!(
            refused(&world, statement).await,
            ("ValidationException".to_owned(), message.to_owned()),
            "{statement}"
        );
    }
    let strong = ExecuteStatementInput {
        consistent_read: Some(true),
        ..input("SELECT * FROM \"things\".\"owners\" WHERE owner = 'x'")
    };
    assert_eq!(
        world.statement(strong).await.unwrap_err().1,
        "Strongly consistent read is not supported on Global Secondary Indexes"
    );
    for (statement, code) in [
        ("SELECT * FROM nothing WHERE pk = 'p'", "ResourceNotFoundException"),
        // The operand is looked at before the table.
        ("SELECT * FROM nothing WHERE pk = 'p' AND a < true", "ValidationException"),
    ] {
        assert_eq!(refused(&world, statement).await.0, code);
    }
}

#[tokio::test]
async fn statements_of_a_batch_stand_for_themselves() {
    let world = world().await;
    let batch = |statements: &[&str]| BatchExecuteStatementInput {
        statements: statements
            .iter()
            .map(|statement| BatchStatementRequest {
                statement: (*statement).to_owned(),
                ..BatchStatementRequest::default()
            })
            .collect(),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Total),
    };
    let answer = world
        .batch_statements(batch(&[
            "SELECT pk FROM things WHERE pk = 'a' AND sk = 1",
            "SELECT * FROM things WHERE pk = 'a'",
            "SELECT * FROM nothing WHERE pk = 'a'",
            "SLECT * FROM things",
            "SELECT * FROM things WHERE pk = 'a' AND sk = 77",
        ]))
        .await
        .unwrap();
    let errors: Vec<Option<String>> = answer
        .responses
        .iter()
        .flatten()
        .map(|response| response.error.as_ref().map(|error| error.code.unwrap().as_str().to_owned()))
        .collect();
    let named = |code: &str| Some(code.to_owned());
    assert_eq!(errors, [None, named("ValidationError"), named("ResourceNotFound"), named("ValidationError"), None]);
    let responses = answer.responses.unwrap();
    assert_eq!(responses[0].item, Some(item(&[("pk", s("a"))])));
    assert_eq!(
        responses[1].error.as_ref().unwrap().message.as_deref(),
        Some("Select statements within BatchExecuteStatement must specify the primary key in the where clause.")
    );
    assert_eq!(responses[4].item, None);
    let answer = world
        .batch_statements(batch(&[
            "INSERT INTO things VALUE {'pk': 'a', 'sk': 1}",
            "INSERT INTO things VALUE {'pk': 'z', 'sk': 1}",
            "UPDATE things SET more = 'new' WHERE pk = 'a' AND sk = 1 RETURNING ALL NEW *",
        ]))
        .await
        .unwrap();
    let responses = answer.responses.unwrap();
    assert_eq!(responses[0].error.as_ref().unwrap().code, Some(BatchStatementErrorCodeEnum::DuplicateItem));
    assert_eq!((responses[1].table_name.as_deref(), &responses[1].item), (Some("things"), &None));
    assert_eq!(responses[2].item.as_ref().unwrap()["more"], s("new"));
    assert_eq!(rows(&world, "SELECT * FROM things WHERE pk = 'z'").await.len(), 1);
}

#[tokio::test]
async fn statements_of_a_transaction_stand_together() {
    let world = world().await;
    let transaction = |statements: &[&str], token: Option<&str>| ExecuteTransactionInput {
        transact_statements: statements
            .iter()
            .map(|statement| ParameterizedStatement {
                statement: (*statement).to_owned(),
                ..ParameterizedStatement::default()
            })
            .collect(),
        client_request_token: token.map(str::to_owned),
        return_consumed_capacity: Some(ReturnConsumedCapacity::Indexes),
    };
    let add = "UPDATE things SET \"size\" = \"size\" + 1 WHERE pk = 'b' AND sk = 0";
    let insert = "INSERT INTO things VALUE {'pk': 'a', 'sk': 1}";
    let error = world.statement_transaction(transaction(&[add, insert], None)).await.unwrap_err();
    assert_eq!(
        error,
        (
            "TransactionCanceledException".to_owned(),
            "Transaction cancelled, please refer cancellation reasons for specific reasons [None, DuplicateItem]"
                .to_owned()
        )
    );
    for _ in 0..2 {
        let check = "EXISTS(SELECT * FROM things WHERE pk = 'c' AND sk = 0 AND \"size\" = 0)";
        let done = world.statement_transaction(transaction(&[check, add], Some("once"))).await.unwrap();
        assert_eq!(done.responses, Some(Vec::new()));
    }
    let found = rows(&world, "SELECT \"size\" FROM things WHERE pk = 'b' AND sk = 0").await;
    assert_eq!(found, [item(&[("size", n(1))])]);
    let read = transaction(
        &["SELECT pk FROM things WHERE pk = 'a' AND sk = 1", "SELECT * FROM things WHERE pk = 'a' AND sk = 9"],
        None,
    );
    let read = world.statement_transaction(read).await.unwrap();
    assert_eq!(read.responses.unwrap()[0].item, Some(item(&[("pk", s("a"))])));
    for (statements, message) in [
        (
            vec!["SELECT * FROM things WHERE pk = 'a'"],
            "Validation failed in TransactStatements[0]: Select statements within ExecuteTransaction must specify the primary \
             key in the where clause.",
        ),
        (
            vec![add, "UPDATE things SET a = 1 WHERE pk = 'a' AND sk = 1 RETURNING ALL NEW *"],
            "Validation failed in TransactStatements[1]: RETURNING clause is not supported in ExecuteTransaction.",
        ),
        (
            vec!["SELECT * FROM things.owners WHERE owner = 'x'"],
            "Validation failed in TransactStatements[0]: Reads on indices are not supported within transactions.",
        ),
        (
            vec!["SELECT * FROM things WHERE"],
            "Validation failed in TransactStatements[0]: Statement wasn't well formed, can't be processed: Unexpected term",
        ),
        (
            vec!["EXISTS(SELECT * FROM things WHERE pk = 'a' AND sk = 1)", add],
            "Validation failed in TransactStatements[0]: EXISTS() must contain a single item read with additional condition",
        ),
        (
            vec![add, "SELECT * FROM things WHERE pk = 'a' AND sk = 1"],
            "ExecuteTransaction API does not support both read and write operations in the same request.",
        ),
    ] {
        let error = world.statement_transaction(transaction(&statements, None)).await.unwrap_err();
        assert_eq!(error, ("ValidationException".to_owned(), message.to_owned()), "{statements:?}");
    }
}
