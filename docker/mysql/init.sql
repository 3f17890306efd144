-- The two databases of Guestwire and their two users, each with what its service needs on its own database and nothing
-- on the other's. The accounts are locked and have no password here: an administrator gives each one its own, with
--   ALTER USER 'pms'@'%' IDENTIFIED BY '...' ACCOUNT UNLOCK;
-- For MySQL 8 and 9, and MariaDB 10.6 and newer.
CREATE DATABASE IF NOT EXISTS pms CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE DATABASE IF NOT EXISTS crm CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE USER IF NOT EXISTS 'pms'@'%' ACCOUNT LOCK;
CREATE USER IF NOT EXISTS 'crm'@'%' ACCOUNT LOCK;

-- CREATE, ALTER, INDEX and DROP are for the migrations, which a service runs when it starts.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON pms.* TO 'pms'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON crm.* TO 'crm'@'%';
