//! A private MySQL or MariaDB server: made for one run, on a free port, gone at its end.
//!
//! It runs under a small shell that waits for its input to close: when this process ends, in whatever way, the shell
//! kills the server by its process id. Its data is in the system's temporary folder, since user mysql may not enter
//! the checkout; it is flushed at every commit, as in production.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use crate::waiting::HANGS_AFTER;
use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Where servers are when they are not on the PATH of an ordinary user.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// The user that the harness connects as, without a password.
pub const USER: &str = "guestwire";

/// A server program that was found on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    flavour: Flavour,
    size: ServerSize,
}

/// How much a server takes, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct ServerSize {
    buffer_pool: u32,
    redo_log: u32,
}

impl ServerSize {
    /// For cases, which hold little: it starts soon.
    pub const CASES: Self = Self {
        buffer_pool: 128,
        redo_log: 32,
    };
    /// For load, as in production: a small log would stop all writes whenever it is full.
    pub const LOAD: Self = Self {
        buffer_pool: 1_024,
        redo_log: 512,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    Mariadb,
    Mysql,
}

impl Program {
    /// The `mariadbd` or `mysqld` that is first on the PATH. They are distinguished by their version, not by their name: Debian's
    /// `mysqld` is a link to `mariadbd`.
    pub fn find(size: ServerSize) -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the harness looks for programs where a shell does"
        )]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = std::env::split_paths(&path)
            .chain(SYSTEM_FOLDERS.map(PathBuf::from))
            .collect();
        let candidates = folders
            .iter()
            .flat_map(|at| ["mariadbd", "mysqld"].map(|name| at.join(name)));
        candidates.filter(|path| path.is_file()).find_map(|path| {
            let version = Command::new(&path).arg("--version").output().ok()?;
            let version = String::from_utf8_lossy(&version.stdout).into_owned();
            let flavour = if version.contains("MariaDB") {
                Flavour::Mariadb
            } else {
                Flavour::Mysql
            };
            Some(Self { path, flavour, size })
        })
    }
}

/// A running server. Dropped, it is killed and its data is removed.
pub struct Server {
    program: Program,
    folder: TempDir,
    /// Its temporary tables: in a folder that is shared, each server that starts removes those of the others.
    temporary: TempDir,
    port: u16,
    variables: Vec<(&'static str, String)>,
    options: Vec<String>,
    running: Option<Child>,
}

impl Server {
    /// Makes a data folder and starts the server on it.
    pub fn start(program: &Program) -> Result<Self> {
        Self::start_in(program, &tempfile::env::temp_dir(), Vec::new(), Vec::new())
    }

    /// The same below `parent`, which its user may enter, with these variables in the server's environment and these options
    /// on its command line.
    pub fn start_in(
        program: &Program,
        parent: &Path,
        variables: Vec<(&'static str, String)>,
        options: Vec<String>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("guestwire-mysql-")
            .tempdir_in(parent)?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        let temporary = tempfile::Builder::new()
            .prefix("guestwire-mysql-tmp-")
            .tempdir()?;
        if let Some((user, group)) = mysql_user()? {
            for path in [folder.path(), temporary.path()] {
                chown(path, Some(user), Some(group))?;
            }
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut server = Self {
            program: program.clone(),
            folder,
            temporary,
            port,
            variables,
            options,
            running: None,
        };
        server.install()?;
        server.run()?;
        Ok(server)
    }

    /// The address of its database of that name.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port on 127.0.0.1; the same after [`run`](Self::run).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it with SIGKILL, as a power failure would, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut shell) = self.running.take() {
            drop(shell.stdin.take());
            shell.wait()?;
        }
        Ok(())
    }

    /// Starts it on its data, and waits until it takes connections.
    pub fn run(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the server runs already");
        let path = |name: &str| self.path(name).display().to_string();
        let mut options = vec![
            self.program.path.display().to_string(),
            "--no-defaults".to_owned(),
            format!("--datadir={}", path("data")),
            format!("--port={}", self.port),
            format!("--socket={}", path("socket")),
            format!("--pid-file={}", path("pid")),
            format!("--init-file={}", path("users.sql")),
        ];
        let fixed = [
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--innodb-flush-log-at-trx-commit=1",
            "--max-connections=600",
        ];
        options.extend(fixed.map(str::to_owned));
        options.extend(self.options.iter().cloned());
        options.extend(self.user_option());
        let ServerSize {
            buffer_pool,
            redo_log,
        } = self.program.size;
        options.push(format!("--innodb-buffer-pool-size={buffer_pool}M"));
        match self.program.flavour {
            Flavour::Mariadb => options.push(format!("--innodb-log-file-size={redo_log}M")),
            Flavour::Mysql => {
                options.extend(["--mysqlx=OFF", "--secure-file-priv=NULL"].map(str::to_owned));
                // All its files together.
                options.push(format!("--innodb-redo-log-capacity={}M", 2 * redo_log));
            }
        }
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "\"$@\" & server=$!; read -r _; kill -KILL $server; wait $server",
                "sh",
            ])
            .args(options)
            .env("TMPDIR", self.temporary.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for the tests; their end is the shell's sign.
            .process_group(0)
            .spawn()?;
        let said = shell.stderr.take().context("the server's messages are piped")?;
        self.running = Some(shell);
        wait_until_ready(BufReader::new(said))
    }

    fn install(&self) -> Result<()> {
        let users = format!(
            "CREATE USER IF NOT EXISTS '{USER}'@'%';\nGRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        );
        std::fs::write(self.path("users.sql"), users)?;
        std::fs::set_permissions(self.path("users.sql"), PermissionsExt::from_mode(0o644))?;
        let data = format!("--datadir={}", self.path("data").display());
        let mut installer = match self.program.flavour {
            Flavour::Mariadb => {
                let mut installer = Command::new("mariadb-install-db");
                installer.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ]);
                installer.arg(format!("--innodb-log-file-size={}M", self.program.size.redo_log));
                installer
            }
            Flavour::Mysql => {
                let mut installer = Command::new(&self.program.path);
                installer.args(["--no-defaults", "--initialize-insecure"]);
                installer
            }
        };
        let done = installer
            .arg(data)
            .args(self.user_option())
            .env("TMPDIR", self.temporary.path())
            .stdin(Stdio::null())
            .output();
        let Output { status, stderr, .. } = done.context("the server's data folder cannot be made")?;
        ensure!(
            status.success(),
            "the data folder was not made: {}",
            String::from_utf8_lossy(&stderr)
        );
        Ok(())
    }

    fn user_option(&self) -> Option<String> {
        // Only root can, and must, give up its rights.
        (mysql_user().ok()?).map(|_| "--user=mysql".to_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!(
                "the private server on port {} was not stopped: {error}",
                self.port
            );
        }
    }
}

/// The ids of user mysql when this process is root; the server refuses to run as root.
fn mysql_user() -> Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata(Path::new("/proc/self"))?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mysql = fields
        .filter(|fields| fields.len() > 3)
        .find(|fields| fields[0] == "mysql");
    let Some(mysql) = mysql else {
        bail!("root cannot run a database server, and there is no user mysql");
    };
    Ok(Some((mysql[2].parse()?, mysql[3].parse()?)))
}

/// Reads what the server says until it is ready; a thread goes on reading, so that the pipe never fills.
fn wait_until_ready(said: impl BufRead + Send + 'static) -> Result<()> {
    let (ready, signal) = mpsc::channel();
    std::thread::spawn(move || {
        let mut so_far = String::new();
        for line in said.lines().map_while(std::result::Result::ok) {
            if line.contains("ready for connections") {
                drop(ready.send(Ok(())));
            } else if so_far.len() < 16 * 1024 {
                so_far.push_str(&line);
                so_far.push('\n');
            }
        }
        drop(ready.send(Err(so_far)));
    });
    match signal.recv_timeout(HANGS_AFTER) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(said)) => bail!("the server ended:\n{said}"),
        Err(_) => bail!("the server is not ready after {HANGS_AFTER:?}"),
    }
}
