# What holds state: a database server, a bucket, a file system that pods of several nodes share, and the registry of images. All encrypted with one key.
resource "aws_kms_key" "this" {
  description         = var.name
  enable_key_rotation = true
}

resource "aws_security_group" "stores" {
  name_prefix = "${var.name}-stores-"
  description = "PostgreSQL and NFS, from the cluster only"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "stores" {
  for_each                     = { postgresql = 5432, nfs = 2049 }
  description                  = each.key
  security_group_id            = aws_security_group.stores.id
  referenced_security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_db_subnet_group" "this" {
  name_prefix = "${var.name}-"
  subnet_ids  = [for subnet in aws_subnet.private : subnet.id]
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  family      = "postgres17"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  # a client whose node is gone says no good-bye: its locks are let go of after a minute
  parameter {
    name  = "tcp_keepalives_idle"
    value = "30"
  }
}

resource "aws_db_instance" "this" {
  identifier                    = var.name
  engine                        = "postgres"
  engine_version                = "17"
  instance_class                = var.database.class
  allocated_storage             = var.database.storage
  max_allocated_storage         = var.database.most_storage
  username                      = "flightdeck"
  manage_master_user_password   = true # made and kept by the secrets manager: it is in no file and in no state
  master_user_secret_kms_key_id = aws_kms_key.this.arn
  db_subnet_group_name          = aws_db_subnet_group.this.name
  parameter_group_name          = aws_db_parameter_group.this.name
  vpc_security_group_ids        = [aws_security_group.stores.id]
  publicly_accessible           = false
  multi_az                      = true
  storage_encrypted             = true
  kms_key_id                    = aws_kms_key.this.arn
  backup_retention_period       = 14
  copy_tags_to_snapshot         = true
  deletion_protection           = true
  final_snapshot_identifier     = "${var.name}-last"
  auto_minor_version_upgrade    = true
}

# no versioning: what an erasure has deleted must be gone
resource "aws_s3_bucket" "this" {
  bucket_prefix = "${var.name}-"
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket_policy" "encrypted_only" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.encrypted_only.json
}

data "aws_iam_policy_document" "encrypted_only" {
  statement {
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_efs_file_system" "shared" {
  encrypted  = true
  kms_key_id = aws_kms_key.this.arn
}

resource "aws_efs_mount_target" "shared" {
  for_each        = aws_subnet.private
  file_system_id  = aws_efs_file_system.shared.id
  subnet_id       = each.value.id
  security_groups = [aws_security_group.stores.id]
}

resource "aws_ecr_repository" "this" {
  for_each             = toset(["kubernetes", "serving"])
  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }
}
