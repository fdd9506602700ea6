"""Secrets in the forms that developers and other people write them; values are made when the test runs."""

from __future__ import annotations

import base64
import hashlib
import random
import string
from collections.abc import Callable

import pytest

from llmguard import catalogue
from llmguard.detection import Engine
from llmguard.model import TextPart

ENGINE = Engine(catalogue.load())
SEEDS = range(3)
GUESSABLE = ("tulip2024", "Winter24", "hunter22", "s3cret-pw")


def secrets_in(text: str, label: str = "") -> list[str]:
    (findings,) = ENGINE.scan([TextPart(text, "/x", label=label)])
    return [text[f.start : f.end] for f in findings if f.category == "secret"]


def exactly(form: str, value: str) -> bool:
    """Whether what is found in ``form`` with ``value`` for its ``§`` is the value, not one character more or less."""
    return secrets_in(form.replace("§", value)) == [value]


def token(seed: int, length: int = 32) -> str:
    drawn = random.Random(seed)
    return "".join(drawn.choices(string.ascii_letters + string.digits, k=length - 2)) + "7q"


def password(seed: int) -> str:
    drawn = random.Random(seed)
    return "".join(drawn.choices(string.ascii_letters + string.digits + "!#%*-_", k=9)) + "k7"


QUOTED = [
    'password = "§"',
    "$password = '§';",
    'String dbPassword = "§";',
    'val password: String = "§"',
    'let password: &str = "§";',
    "const password: string = '§'",
    "password: str = '§'",
    'var password string = "§"',
    'password := "§"',
    ":password => '§',",
    'char password[] = "§";',
    'passwd <- "§"',
    'PASSWORD = b"§"',
    'pwd = r"§"',
    'NSString *password = @"§";',
    'Dim password As String = "§"',
    '{"password": "§"}',
    r"{\"password\": \"§\"}",
    r'"{\\\"password\\\": \\\"§\\\"}"',
    "password: '§'",
    'db_password = "§" # dev',
    'user.setPassword("§");',
    "$user->password('§')",
    'props.put("password", "§");',
    "define('DB_PASSWORD', '§');",
    'os.environ.get("DB_PASSWORD", "§")',
    'System.getenv("PASSWORD") ?: "§"',
    "process.env.PASSWORD || '§'",
    'password = os.getenv("PW") or "§"',
    'connect(user="ann", password="§", port=1)',
    '<user name="ann" password="§"/>',
    '<add key="DbPassword" value="§" />',
    '<property name="password" value="§"/>',
    '<property name="password">§</property>',
    "<password>§</password>",
    "<password><![CDATA[§]]></password>",
    "<key>Password</key>\n  <string>§</string>",
    "<AdministratorPassword><Value>§</Value></AdministratorPassword>",
    "- name: DB_PASSWORD\n  value: §",
    '- name: DB_PASSWORD\n  value: "§"',
    '{"name": "DB_PASSWORD", "value": "§"}',
    'variable "db_password" {\n  default = "§"\n}',
    "ParameterKey=DBPassword,ParameterValue=§",
    '#define PASSWORD "§"',
    "CREATE USER ann IDENTIFIED BY '§';",
    "ALTER ROLE ann WITH PASSWORD '§';",
    "SET PASSWORD FOR ann = PASSWORD('§');",
    'ConvertTo-SecureString "§" -AsPlainText -Force',
    '"passwort": "§"',
    '"contraseña": "§"',
    "senha = '§'",
    'wachtwoord: "§"',
]
BARE = [
    "DB_PASSWORD=§",
    "export PGPASSWORD=§",
    "ENV MYSQL_ROOT_PASSWORD=§",
    "docker run -e POSTGRES_PASSWORD=§ postgres",
    "java -Dspring.datasource.password=§ -jar x.jar",
    "db:\n  password: §\n",
    "spring.datasource.password=§\n",
    "smtp_pass = §\n",
    "password: |\n  §\n",
    "ansible_password: §",
    "wifi-password = § ; home",
    "Server=db;Database=x;User Id=sa;Password=§;Encrypt=yes",
    "Driver={PG};Uid=ann;Pwd=§;",
    "jdbc:postgresql://db/x?user=ann&password=§&ssl=true",
    "postgresql://ann:§@db:5432/x",
    "tool --password § --verbose",
    "tool --db-password=§",
    "openssl rsa -in k.pem -passin pass:§",
    "keytool -storepass § -list",
    "sshpass -p § ssh ann@h",
    "ldapsearch -x -D cn=a -w § -b y",
    "docker login -u ann -p § registry.example.org",
    "unzip -P § x.zip",
    "7z x -p§ x.7z",
    "smbclient //h/s -U ann%§",
    "mysql -u root -p§ db",
    "curl -u ann:§ https://example.org",
    "curl -su 'ann:§' https://example.org",
    'curl --user "ann":"§" https://example.org',
    "echo 'ann:§' | chpasswd",
    "echo § | sudo -S ls",
    "machine api.example.org login ann password §",
    "db.example.org:5432:app:ann:§",
]
TOKENS = [
    'api_key = "§"',
    "API_KEY=§",
    "apiKey: '§',",
    'const clientSecret = "§";',
    '{"access_token": "§"}',
    r"{\"secret\": \"§\"}",
    "client_secret: §",
    "X-Api-Key: §",
    "-H 'X-Auth-Token: §'",
    "Authorization: Bearer §",
    "Authorization: Token §",
    "Authorization: §",
    "Cookie: theme=dark; sessionid=§; lang=en",
    "Set-Cookie: connect.sid=§; Path=/; HttpOnly",
    "GET /v1/items?api_key=§&page=2",
    "https://example.org/cb#access_token=§&expires_in=1",
    "<apiKey>§</apiKey>",
    '<add key="ApiKey" value="§"/>',
    "- name: API_TOKEN\n  value: §",
    "${API_KEY:-§}",
    'os.getenv("API_TOKEN", "§")',
    'client.setApiKey("§");',
    "tool --api-key § --verbose",
    "tool --token=§",
    "//registry.example.org/:_authToken=§",
    "git clone https://§@example.org/x.git",
    "git clone https://oauth2:§@example.org/x.git",
    "the API key for staging is §",
    "The token is `§`, keep it",
    "| API key | § |",
    '#define API_KEY "§"',
    '.set("Authorization", "Bearer §")',
    "secret_key_base: §",
]


@pytest.mark.parametrize("form", QUOTED + BARE)
@pytest.mark.parametrize("seed", SEEDS)
def test_password_is_found_whole_in_every_form(form: str, seed: int) -> None:
    for value in (password(seed), GUESSABLE[seed]):
        assert exactly(form, value)


@pytest.mark.parametrize("form", TOKENS)
@pytest.mark.parametrize("seed", SEEDS)
def test_token_is_found_whole_in_every_form(form: str, seed: int) -> None:
    value = token(seed)
    assert exactly(form, value)


TOLD = [
    ("my password is §", "hunter2-Kx"),
    ("my password is §, thanks", "letmein"),
    ("the password for the staging server is §.", "Winter24!"),
    ("I changed the password to § today", "tulip2024"),
    ('The password is "§" for now', "letmein"),
    ("Use § as the password.", "Winter24!"),
    ("The login is bob / §", "hunter2"),
    ("credentials for staging: admin:§", "s3cret77"),
    ("Das Passwort lautet §.", "Sommer24"),
    ("Das Kennwort für den Server ist § bitte nicht weitergeben", "geheim99"),
    ("Mein Passwort: §", "Fahrrad77!"),
    ("Le mot de passe est §", "Soleil75"),
    ("le mot de passe du serveur est « § »".replace("« ", "«").replace(" »", "»"), "Soleil75"),
    ("La contraseña del wifi es §", "Gato2024"),
    ("mi clave es §", "Luna#77"),
    ("La password del router è §", "Gatto77!"),
    ("A senha do wifi é §", "praia2024"),
    ("Het wachtwoord voor de server is §", "Fiets99"),
    ("use PIN § at the door", "4821"),
    ("my PIN is §.", "4821"),
    ("your verification code is §", "482913"),
    ("§ is your verification code", "482913"),
    ("The door code is §", "4821#"),
    ("gate code: §", "7731"),
    ("Meine PIN lautet §", "4821"),
    ("Ihr Bestätigungscode lautet §", "482913"),
    ("Der Türcode ist §", "4821"),
    ("Votre code de vérification est §", "482913"),
    ("le code d'accès est §", "48213"),
    ("código de verificación: §", "482913"),
    ("Tu código de seguridad es §", "482913"),
    ("Il codice di verifica è §", "482913"),
    ("O código de verificação é §", "482913"),
    ("de pincode is §", "4821"),
    ("Je verificatiecode is §", "482913"),
    ("CVV: §", "737"),
]


@pytest.mark.parametrize(("form", "value"), TOLD)
def test_what_people_tell_each_other_is_found_whole(form: str, value: str) -> None:
    assert exactly(form, value)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _drawn(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _base58check(data: bytes) -> str:
    number = int.from_bytes(data + hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4])
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return text


STRUCTURED = [
    ("the key §", lambda n: _base58check(b"\x80" + _drawn(n, 32) + b"\x01")),
    ("wallet: §", lambda n: _base58check(bytes.fromhex("0488ade4") + _drawn(n, 74))),
    ("[Interface]\nPrivateKey = §", lambda n: _base64(_drawn(n, 32))),
    ('{"kty":"EC","crv":"P-256","d":"§"}', lambda n: base64.urlsafe_b64encode(_drawn(n, 32)).decode().rstrip("=")),
    ("otpauth://totp/shop?secret=§&issuer=x", lambda n: base64.b32encode(_drawn(n, 20)).decode()),
    ('{"auths": {"r.example.org": {"auth": "§"}}}', lambda n: _base64(b"ann:" + _drawn(n, 6).hex().encode())),
    ("_auth=§", lambda n: _base64(b"ann:" + _drawn(n, 6).hex().encode())),
    ("ann:§", lambda n: "$2y$10$" + _base64(_drawn(n, 60)).replace("+", ".")[:53]),
    (
        "ann:§:19000:0:99999:7:::",
        lambda n: "$6$" + _drawn(n, 4).hex() + "$" + _base64(_drawn(n, 66)).replace("+", ".")[:86],
    ),
    ("Private-Lines: 2\n§\nPrivate-MAC: 00", lambda n: _base64(_drawn(n, 48)) + "\n" + _base64(_drawn(n, 20))),
    ("app_token = §", lambda n: "3" + "".join(random.Random(n).choices(string.digits, k=17))),
    (
        "Backup codes:\n§\n",
        lambda n: "\n".join(f"{a:04}-{a * 7 % 9973:04}" for a in random.Random(n).sample(range(1000, 9999), 4)),
    ),
]


@pytest.mark.parametrize(("form", "made"), STRUCTURED, ids=[form[:24] for form, _ in STRUCTURED])
@pytest.mark.parametrize("seed", SEEDS)
def test_keys_with_a_structure_are_found_whole(form: str, made: Callable[[int], str], seed: int) -> None:
    assert exactly(form, made(seed))


QUIET = [
    'password = "changeme"',
    "password: xxxxxxxx",
    'api_key = "<your-key>"',
    "password: ${DB_PASSWORD}",
    "password: {{ vault.password }}",
    "password = get_password(user)",
    "password = self.config.password",
    "def login(user: str, password: str = None) -> bool:",
    'password: Optional[str] = Field(description="the password")',
    '"password": "Passwort"',
    '"password": "Mot de passe"',
    '"passwordLabel": "Enter your password"',
    '"forgotPassword": "Forgot your password?"',
    '<input type="password" name="password" id="password" placeholder="Password">',
    '<label for="password">Password</label>',
    ".password-field { color: red; }",
    'input[type="password"] { width: 10px; }',
    "hash_password(password, 'sha256')",
    "token = tokenizer.next_token()",
    "for token in tokens: count[token] += 1",
    "max_tokens = 4096",
    "token_type: Bearer",
    "primary_key = 'account_number_2'",
    "cache_key = 'user:profile:v2'",
    "keys = sorted(data.keys())",
    "key: build-cache-linux-x64-v3",
    "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    'integrity="sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC"',
    "the word secret comes from Latin",
    "A token is a string of characters; see RFC 6750.",
    "secret: !Ref DatabaseSecret",
    "secretName: database-credentials-v2",
    "PWD=/home/ann/src OLDPWD=/home/ann",
    "The password must be at least 8 characters long.",
    "My password is wrong, what can I do?",
    "Das Passwort ist falsch.",
    "La contraseña es incorrecta.",
    "exit code: 404",
    "error code 5003 occurred",
    "pin 13 of the board",
    "the zip code is 90210",
    "postal code: 90210",
    "status code is 200 for the page",
    "auth: none",
    "PASS: TestLogin/5 (0.07s)",
    "--password PASSWORD",
    "--token <token>",
    "password_hash = bcrypt.hashpw(password, salt)",
    "password !== confirmPassword",
    'if password == "":',
    "Cookie: lang=en; theme=dark",
    "user_pass = '%s:%s' % (user, password)",
    '"author": "rodrimati1992"',
    "recovery codes are printed once",
]


@pytest.mark.parametrize("text", QUIET)
def test_what_only_speaks_of_secrets_is_quiet(text: str) -> None:
    assert secrets_in(text) == []


def test_password_under_its_key_is_found_without_anything_around_it() -> None:
    assert secrets_in("tulip", label="password") == ["tulip"]
    assert secrets_in("Passwort", label="password") == []


@pytest.mark.parametrize("form", ['adafruitToken := "§"', "airtable_TOKEN = '§'", 'adobe_token: "§"', *QUOTED[:3]])
def test_what_stands_in_a_placeholder_is_not_found_again(form: str) -> None:
    drawn = random.Random(form)
    tag = "".join(drawn.choices(string.ascii_lowercase + "234567", k=10))
    assert secrets_in(form.replace("§", f"[SECRET_{tag}]")) == []
    assert secrets_in(form.replace("§", f"SECRET_{tag}{tag}77")) != []
