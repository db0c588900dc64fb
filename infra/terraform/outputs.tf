# What infra/kubernetes/overlays/cloud must be told.
output "database" {
  description = "FLIGHTDECK_HOSTS: postgres."
  value       = aws_db_instance.this.address
}

output "database_secret" {
  description = "Where the secrets manager keeps the password of the role flightdeck: the secret postgres_flightdeck."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "bucket" {
  description = "FLIGHTDECK_LAKE, FLIGHTDECK_ARTIFACTS, FLIGHTDECK_DVC_REMOTE."
  value       = aws_s3_bucket.this.bucket
}

output "registry" {
  description = "The images' names."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "shared_files" {
  description = "The file system of the storage class shared-files."
  value       = aws_efs_file_system.shared.id
}
