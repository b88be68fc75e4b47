{{/*
The name of every object. With an alias .Chart.Name is the alias, so two instances never collide.
*/}}
{{- define "greeter.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/*
What a selector may hold: it never changes during the life of a release.
*/}}
{{- define "greeter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/*
Labels of pods: no version, so that a new chart version alone restarts nothing.
*/}}
{{- define "greeter.podLabels" -}}
{{ include "greeter.selectorLabels" . }}
app.kubernetes.io/component: greeter
app.kubernetes.io/part-of: greetings
greeter.greetings.example/language: {{ .Values.language }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Labels of all objects. "+" of a version (Flux appends one) is no label character.
*/}}
{{- define "greeter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "greeter.selectorLabels" . }}
app.kubernetes.io/component: greeter
app.kubernetes.io/part-of: greetings
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "greeter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "greeter.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{/*
The image: global.imageRegistry (a mirror) replaces the chart's registry, a digest beats a tag.
*/}}
{{- define "greeter.image" -}}
{{- $name := printf "%s/%s" (.Values.global.imageRegistry | default .Values.image.registry) .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/*
One HTTP probe. Call it with an entry of .Values.probes.
*/}}
{{- define "greeter.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end }}

{{/*
The sentence. Its audience is the greeter's own, else the one that all greeters share.
*/}}
{{- define "greeter.message" -}}
{{ .Values.greeting.salutation }}, {{ .Values.greeting.audience | default .Values.global.audience }}{{ .Values.greeting.punctuation }}
{{- end }}
