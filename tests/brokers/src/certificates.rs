//! Certificates for tests, made by `openssl`: an authority of one's own and those that it signs. Knows no broker.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tools::{need_tool, run};

/// What the system's configuration would add to a certificate is left out.
const CONFIG: &str = "[req]\ndistinguished_name = name\nprompt = no\n[name]\n";

/// Kinds of keys, as `openssl req -newkey` wants them.
const RSA: &str = "rsa:2048";
const CURVE: &str = "ec -pkeyopt ec_paramgen_curve:prime256v1";

/// An authority, and the folder of all that it signed.
pub struct Authority {
    folder: TempDir,
    openssl: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// Without `openssl`: what certificates have to do with is never left out.
    #[must_use]
    pub fn new() -> Authority {
        let openssl = need_tool("openssl", "openssl").unwrap_or_else(|why| panic!("{why}"));
        let authority = Authority { folder: tempfile::tempdir().expect("a folder"), openssl };
        std::fs::write(authority.path("config"), CONFIG).expect("a file");
        authority.make("authority", RSA, &[], &["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"]);
        authority
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// For a server at `127.0.0.1`: certificate and key.
    #[must_use]
    pub fn server(&self) -> (PathBuf, PathBuf) {
        self.sign("server", RSA, &["subjectAltName=IP:127.0.0.1", "extendedKeyUsage=serverAuth"])
    }

    /// For a client of this name: certificate and key.
    #[must_use]
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        self.sign(name, RSA, &["extendedKeyUsage=clientAuth"])
    }

    /// The same, with a key on an elliptic curve.
    #[must_use]
    pub fn client_on_a_curve(&self, name: &str) -> (PathBuf, PathBuf) {
        self.sign(name, CURVE, &["extendedKeyUsage=clientAuth"])
    }

    /// The key in another form: `arguments` are those of `openssl pkey` or another program of it.
    ///
    /// # Panics
    /// When `openssl` does not want them.
    #[must_use]
    pub fn rewritten(&self, key: &Path, name: &str, arguments: &[&str]) -> PathBuf {
        let written = self.path(name);
        let all = arguments.iter().map(OsStr::new);
        self.run(all.chain([OsStr::new("-in"), key.as_os_str(), OsStr::new("-out"), written.as_os_str()]));
        written
    }

    /// A file of these contents.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, contents: &str) -> PathBuf {
        std::fs::write(self.path(name), contents).expect("a file");
        self.path(name)
    }

    fn sign(&self, name: &str, kind: &str, extensions: &[&str]) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.certificate(), self.path("authority.key"));
        let by = [OsStr::new("-CA"), certificate.as_os_str(), OsStr::new("-CAkey"), key.as_os_str()];
        self.make(name, kind, &by, extensions)
    }

    fn make(&self, name: &str, kind: &str, by: &[&OsStr], extensions: &[&str]) -> (PathBuf, PathBuf) {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let (config, subject) = (self.path("config"), format!("/CN={name}"));
        let plain = "req -x509 -noenc -days 2 -newkey".split(' ').chain(kind.split(' ')).map(OsStr::new);
        let files = [
            OsStr::new("-subj"),
            OsStr::new(&subject),
            OsStr::new("-config"),
            config.as_os_str(),
            OsStr::new("-out"),
            certificate.as_os_str(),
            OsStr::new("-keyout"),
            key.as_os_str(),
        ];
        let extensions = extensions.iter().flat_map(|one| [OsStr::new("-addext"), OsStr::new(one)]);
        self.run(plain.chain(files).chain(by.iter().copied()).chain(extensions));
        (certificate, key)
    }

    fn run<'a>(&self, arguments: impl Iterator<Item = &'a OsStr>) {
        let arguments: Vec<&OsStr> = arguments.collect();
        let arguments: Vec<&dyn AsRef<OsStr>> =
            arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>).collect();
        run(&self.openssl, &arguments).unwrap_or_else(|why| panic!("{why}"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}
