//! TLS as psql sees it, where it is installed: certificates both ways, channel binding, the order of the rules, and a
//! certificate that is renewed while the server runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::server::{Folder, Options, Server};

const SETTINGS: &str = r#"
password = "secret"
tls_cert = "server.pem"
tls_key = "server.key"
tls_client_ca = "ca.pem"

[[rules]]
type = "hostssl"
database = "all"
user = "ann"
address = "all"
method = "cert"

[[rules]]
type = "hostnossl"
database = "all"
user = "all"
address = "all"
method = "reject"

[[rules]]
type = "host"
database = "all"
user = "all"
address = "all"
method = "scram-sha-256"
"#;

/// Who signs all certificates of a test.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// `<name>.pem` and `<name>.key` for the common name; valid to the end of `year`.
    fn sign(&self, folder: &Path, name: &str, common_name: &str, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_after = date_time_ymd(year, 12, 31);
        fs::write(folder.join(format!("{name}.pem")), params.signed_by(&key, &self.0).unwrap().pem()).unwrap();
        let path = folder.join(format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        // libpq takes no key that others may read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// What `SELECT current_user` gives, or psql's message; `None` where there is no psql.
fn log_in(folder: &Path, port: u16, connection: &str) -> Option<Result<String, String>> {
    let connection = format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=dev {connection}");
    let mut command = Command::new("psql");
    command.args(["-X", "-At", "-c", "SELECT current_user", &connection]).current_dir(folder);
    command.env("PGPASSWORD", "secret").env("HOME", folder);
    let Ok(output) = command.output() else {
        println!("skipped: psql is not installed");
        return None;
    };
    Some(match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    })
}

#[test]
fn certificates_and_rules() {
    let folder = Folder::new();
    let path = folder.path();
    let authority = Authority::new(path, "ca");
    authority.sign(path, "server", "localhost", 2100);
    authority.sign(path, "ann", "ann", 2100);
    authority.sign(path, "expired", "ann", 2020);
    Authority::new(path, "stranger").sign(path, "strange", "ann", 2100);
    fs::write(path.join("weir.toml"), SETTINGS).unwrap();
    let server = Server::start(path, &Options { config: "weir.toml", ..Options::default() }).unwrap();
    let try_it = |connection: &str| log_in(path, server.port(), connection);

    let bound = "user=root sslmode=verify-full sslrootcert=ca.pem channel_binding=require";
    let Some(answer) = try_it(bound) else { return };
    assert_eq!(answer, Ok("root".into()));
    let made = Command::new("psql")
        .args(["-X", "-c", "CREATE USER ann", &format!("host=127.0.0.1 port={} dbname=dev user=root", server.port())])
        .env("PGPASSWORD", "secret")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    for (connection, expected) in [
        ("user=ann sslmode=verify-full sslrootcert=ca.pem sslcert=ann.pem sslkey=ann.key", Ok("ann")),
        // Another rule: the certificate is no proof for root, the password is.
        ("user=root sslmode=verify-full sslrootcert=ca.pem sslcert=ann.pem sslkey=ann.key", Ok("root")),
        ("user=ann sslmode=require", Err("certificate authentication failed for user \"ann\"")),
        ("user=ann sslmode=require sslcert=expired.pem sslkey=expired.key", Err("certificate")),
        ("user=ann sslmode=require sslcert=strange.pem sslkey=strange.key", Err("unknown ca")),
        ("user=root sslmode=disable", Err("no encryption")),
        ("user=root sslmode=verify-full sslrootcert=stranger.pem", Err("certificate verify failed")),
    ] {
        match (try_it(connection), expected) {
            (Some(Ok(user)), Ok(expected)) => assert_eq!(user, expected, "{connection}"),
            (Some(Err(message)), Err(part)) => assert!(message.contains(part), "{connection}: {message}"),
            (answer, _) => panic!("{connection}: {answer:?}"),
        }
    }

    // Renewed by another authority: who trusted the first one alone does not get in any more.
    Authority::new(path, "next").sign(path, "server", "localhost", 2100);
    let next = "user=root sslmode=verify-full sslrootcert=next.pem channel_binding=require";
    assert_eq!(try_it(next), Some(Ok("root".into())));
    assert!(try_it(bound).is_some_and(|answer| answer.is_err()));
}
