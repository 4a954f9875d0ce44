use super::{Cluster, Options};

#[tokio::test]
async fn starts_answers_and_leaves_nothing() {
    let cluster = Cluster::start(&Options {
        settings: vec![("application_name".to_owned(), "it's".to_owned())],
        ..Options::default()
    })
    .unwrap();
    let client = cluster.connect("postgres").await.unwrap();
    let row = client
        .query_one("SELECT current_setting('fsync'), inet_server_port(), current_setting('TimeZone')", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "off");
    assert_eq!(row.get::<_, i32>(1), i32::from(cluster.port()));
    assert_eq!(row.get::<_, &str>(2), "UTC");
    cluster.create_database("it's \"one\"", None).await.unwrap();
    let error = cluster.run("postgres", "SELECT 1/0").await.unwrap_err();
    assert_eq!(error.to_string(), "SQL: division by zero (22012)");

    let (dir, pid) = (cluster.directory().to_owned(), cluster.pid());
    assert!(dir.join("data").exists());
    drop(cluster);
    assert!(!dir.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
