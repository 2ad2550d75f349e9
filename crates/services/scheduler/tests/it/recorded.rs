//! What AWS answered, recorded.

use model_scheduler::*;

use crate::support::{World, to_queue};

#[tokio::test]
async fn expressions_that_aws_takes_are_taken() {
    let world = World::new();
    let queue = world.queue("q").await;
    for (index, expression) in [
        "cron(*/15 * * * ? *)",
        "cron(0 18 ? * MON-FRI *)",
        "cron(0-15/1 8-8 ? * 2,3,4,5,6,7 *)",
        "cron(0-59/10 0-23/2 ? * * *)",
        "cron(1-31/30 1-1 ? * 1,7 *)",
        "cron(30-30 13-13 ? * 2,4,6 *)",
        "at(2022-12-12T00:00:00)",
        "rate(1 minutes)",
        "rate(5 minutes)",
    ]
    .into_iter()
    .enumerate()
    {
        let made = world.create(to_queue(&format!("s{index}"), expression, &queue)).await.unwrap();
        let arn = format!("arn:aws:scheduler:us-east-1:000000000000:schedule/default/s{index}");
        assert_eq!(made.schedule_arn, arn, "{expression}");
    }
}

#[tokio::test]
async fn groups_are_tagged_and_untagged() {
    let world = World::new();
    let request = CreateScheduleGroupInput { name: "g".to_owned(), ..Default::default() };
    let resource_arn = world.create_group(request).await.unwrap().schedule_group_arn;
    let tag = Tag { key: "TagKey".to_owned(), value: "TagValue".to_owned() };
    world.tag(TagResourceInput { resource_arn: resource_arn.clone(), tags: vec![tag.clone()] }).await.unwrap();
    let list = || world.list_tags(ListTagsForResourceInput { resource_arn: resource_arn.clone() });
    assert_eq!(list().await.unwrap().tags, Some(vec![tag]));
    let request = UntagResourceInput { resource_arn: resource_arn.clone(), tag_keys: vec!["TagKey".to_owned()] };
    world.untag(request).await.unwrap();
    assert_eq!(list().await.unwrap().tags, Some(Vec::new()));
}
